"""Line plots as SVG, without a library: the style of plot-decode-cost."""
import math

COLOURS = ["#1b6ca8", "#c8553d", "#3a7d44", "#8b5fbf", "#b8860b", "#2f4858", "#d1495b"]
WIDTH, HEIGHT, LEFT, TOP = 330, 260, 60, 44
LABELS = 170


def panel(title, x_title, y_title, lines, offset, linear_x=False):
    """lines: {label: [(x, y)]}; y is logarithmic, x too unless said otherwise."""
    scale = (lambda x: x) if linear_x else math.log10
    xs = [x for points in lines.values() for x, _ in points]
    ys = [max(y, 1e-3) for points in lines.values() for _, y in points]
    low_x, high_x = scale(min(xs)), scale(max(xs)) + 1e-9
    low_y, high_y = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)) - 1e-9)
    high_y = max(high_y, low_y + 1)

    def place(x, y):
        return (offset + LEFT + (scale(x) - low_x) / max(high_x - low_x, 1e-6) * WIDTH,
                TOP + HEIGHT - (math.log10(max(y, 10 ** low_y)) - low_y) / (high_y - low_y) * HEIGHT)

    out = [f'<text x="{offset + LEFT}" y="{TOP - 22}" font-weight="bold">{title}</text>']
    for power in range(low_y, high_y + 1):
        _, y = place(min(xs), 10 ** power)
        out.append(f'<line x1="{offset + LEFT}" x2="{offset + LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{offset + LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10 ** power:g}</text>')
    for x in sorted(set(xs)):
        if not linear_x and abs(math.log10(x) - round(math.log10(x))) > 1e-9:
            continue
        at, _ = place(x, 10 ** low_y)
        out.append(f'<text x="{at:.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{x:,g}</text>')
    out.append(f'<text x="{offset + LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 34}" text-anchor="middle">{x_title}</text>')
    out.append(f'<text x="{offset + LEFT}" y="{TOP - 6}" fill="#666">{y_title}</text>')
    ends = []
    for index, (label, points) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        placed = [place(x, y) for x, y in sorted(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in placed]
        ends.append([placed[-1][1] + 4, placed[-1][0] + 7, colour, label])
    # Labels of lines that end close together are moved apart.
    ends.sort()
    for above, below in zip(ends, ends[1:]):
        below[0] = max(below[0], above[0] + 13)
    excess = max(0, ends[-1][0] - (TOP + HEIGHT))
    for y, x, colour, label in ends:
        out.append(f'<text x="{x:.1f}" y="{y - excess:.1f}" fill="{colour}">{label}</text>')
    return out


def page(panels):
    """panels: [(title, x title, y title, lines, options)], side by side."""
    step = LEFT + WIDTH + LABELS
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{len(panels) * step}" height="{TOP + HEIGHT + 46}" '
           'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>']
    for index, (title, x_title, y_title, lines, options) in enumerate(panels):
        out += panel(title, x_title, y_title, lines, index * step, **options)
    return "\n".join(out + ["</svg>", ""])
