import ExactArithmetic

/// What LaTeX commands and Unicode signs mean in an answer.
enum AnswerNames {
  /// Commands without effect on the value.
  static let ignored: Set<String> = [
    "left", "right", "middle", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr", "Biggl",
    "Biggr", "displaystyle", "textstyle", "scriptstyle", "limits", "nolimits", "Large", "large", "LARGE", "huge",
    "Huge",
    "small", "normalsize", "tiny", "footnotesize", "bf", "it", "rm", "boldmath", "hline", "smallskip", "medskip",
    "bigskip", "noindent", "centering", "strut", "mathstrut", "checkmark", "qedsymbol", "square", "blacksquare",
  ]
  static let spaces: Set<String> = [
    "quad", "qquad", "hspace", "thinspace", "space", "enspace", "medspace", "thickspace", "negthinspace", "phantom",
  ]
  /// Commands whose argument is text.
  static let text: Set<String> = [
    "text", "mbox", "textbf", "textit", "textrm", "textsf", "texttt", "textnormal", "textup", "emph", "hbox", "textsc",
  ]
  /// Commands whose argument is mathematics in another font.
  static let fonts: Set<String> = [
    "mathbf", "mathit", "mathsf", "mathtt", "mathnormal", "boldsymbol", "bm", "boxed", "fbox", "underline", "mathbb",
    "mathcal", "vec", "hat", "overrightarrow", "ensuremath", "tilde", "framebox", "mathop",
  ]
  /// Upright letters: a unit or a word when they have several, a constant when one.
  static let upright: Set<String> = ["mathrm", "operatorname", "unit", "si"]

  static let marks: [String: AnswerToken.Mark] = [
    "cdot": .times, "times": .times, "ast": .times, "div": .divide, "pm": .plusMinus, "mp": .minusPlus,
    "le": .lessEqual, "leq": .lessEqual, "leqslant": .lessEqual, "ge": .greaterEqual, "geq": .greaterEqual,
    "geqslant": .greaterEqual, "lt": .less, "gt": .greater, "ne": .notEqual, "neq": .notEqual, "in": .element,
    "cup": .union, "cap": .intersection, "setminus": .without, "backslash": .without, "approx": .approximately,
    "simeq": .approximately, "sim": .approximately, "doteq": .approximately, "thickapprox": .approximately,
    "lbrace": .openSet, "rbrace": .closeSet, "lbrack": .openSquare, "rbrack": .closeSquare, "lvert": .bar,
    "rvert": .bar,
    "vert": .bar, "mid": .bar, "lparen": .openRound, "rparen": .closeRound, "degree": .degree, "degrees": .degree,
    "circ": .degree, "ldots": .ellipsis, "dots": .ellipsis, "cdots": .ellipsis, "dotsc": .ellipsis, "vdots": .ellipsis,
    "dotsb": .ellipsis, "colon": .colon, "dollar": .dollars, "pounds": .pounds, "euro": .euros, "prime": .prime,
    "to": .arrow, "rightarrow": .arrow, "Rightarrow": .arrow, "implies": .arrow, "longrightarrow": .arrow,
    "equiv": .equal, "coloneqq": .equal, "iff": .arrow, "overline": .overline, "bar": .overline, "cr": .newRow,
    "newline": .newRow, "tabularnewline": .newRow, "textdegree": .degree, "lvertx": .bar,
  ]

  /// Names with a meaning, in LaTeX and in plain text.
  static let plain: Set<String> = [
    "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "ln", "log",
    "pi", "infty", "infinity", "exp", "theta",
  ]
  static let functions: Set<String> = [
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "coth", "ln", "log",
    "exp", "lg", "det", "gcd", "lcm", "max", "min", "arg", "deg", "dim", "ker",
  ]
  static let letters: Set<String> = [
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega", "Gamma",
    "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega", "ell", "hbar", "emptyset",
    "varnothing", "angle", "triangle", "measuredangle", "nabla", "partial", "Re", "Im", "top", "bot", "perp",
  ]
  /// Structures that the parser reads.
  static let structures: Set<String> = [
    "frac", "sqrt", "binom", "over", "choose", "lfloor", "rfloor", "lceil", "rceil", "pi", "infty", "cbrt",
  ]
  static let spellings: [String: String] = [
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "nicefrac": "frac", "sfrac": "frac", "dbinom": "binom",
    "tbinom": "binom", "infinity": "infty", "varnothing": "emptyset", "lg": "log", "root": "sqrt", "surd": "sqrt",
  ]

  enum Sign {
    case ascii(String)
    case mark(AnswerToken.Mark)
    case name(String)
    case raised(String)
    case lowered(String)
    case fraction(Int, Int)
    case space
    case end
  }

  static let signs: [UInt32: Sign] = {
    var table: [UInt32: Sign] = [:]
    func put(_ characters: String, _ sign: Sign) {
      for scalar in characters.unicodeScalars { table[scalar.value] = sign }
    }
    put("−–‐‑﹣－—", .mark(.minus))
    put("＋", .mark(.plus))
    put("×·⋅∗✕✖•", .mark(.times))
    put("÷∕⁄／", .mark(.divide))
    put("±", .mark(.plusMinus))
    put("∓", .mark(.minusPlus))
    put("≤⩽≦", .mark(.lessEqual))
    put("≥⩾≧", .mark(.greaterEqual))
    put("≠", .mark(.notEqual))
    put("≈≃≅∼", .mark(.approximately))
    put("∈", .mark(.element))
    put("∪", .mark(.union))
    put("∩", .mark(.intersection))
    put("→⇒⟹⟶➡", .mark(.arrow))
    put("°º˚", .mark(.degree))
    put("…⋯", .mark(.ellipsis))
    put("，、", .mark(.comma))
    put("；", .mark(.semicolon))
    put("：", .mark(.colon))
    put("％", .mark(.percent))
    put("＝≡", .mark(.equal))
    put("（", .mark(.openRound))
    put("）", .mark(.closeRound))
    put("？", .mark(.question))
    put("′’", .mark(.prime))
    put("＄", .mark(.dollars))
    put("¢", .mark(.cents))
    put("€", .mark(.euros))
    put("£", .mark(.pounds))
    put("¥", .mark(.yen))
    put("√", .name("sqrt"))
    put("∛", .name("cbrt"))
    put("π", .name("pi"))
    put("∞", .name("infty"))
    put("θ", .name("theta"))
    put("α", .name("alpha"))
    put("β", .name("beta"))
    put("φ", .name("phi"))
    put("λ", .name("lambda"))
    put("μ", .name("mu"))
    put("σ", .name("sigma"))
    put("ω", .name("omega"))
    put("∅", .name("emptyset"))
    put("∠", .name("angle"))
    put("。．！", .end)
    put("\u{A0}\u{2009}\u{202F}\u{2003}\u{2002}\u{2007}\u{3000}\u{200A}\u{2005}\u{2006}\u{200B}", .space)
    for (index, character) in "⁰¹²³⁴⁵⁶⁷⁸⁹".unicodeScalars.enumerated() {
      table[character.value] = .raised("\(index)")
    }
    put("⁻", .raised("-"))
    put("ⁿ", .raised("n"))
    for (index, character) in "₀₁₂₃₄₅₆₇₈₉".unicodeScalars.enumerated() {
      table[character.value] = .lowered("\(index)")
    }
    for (character, top, bottom) in [
      ("½", 1, 2), ("⅓", 1, 3), ("⅔", 2, 3), ("¼", 1, 4), ("¾", 3, 4), ("⅕", 1, 5), ("⅖", 2, 5), ("⅗", 3, 5),
      ("⅘", 4, 5), ("⅙", 1, 6), ("⅚", 5, 6), ("⅛", 1, 8), ("⅜", 3, 8), ("⅝", 5, 8), ("⅞", 7, 8), ("⅐", 1, 7),
      ("⅑", 1, 9), ("⅒", 1, 10),
    ] {
      put(character, .fraction(top, bottom))
    }
    // Full-width digits and letters.
    for value in UInt32(0xFF10)...0xFF5A {
      let plain = value - 0xFF10 + 0x30
      guard let scalar = Unicode.Scalar(plain), plain <= 0x7A,
        isDigit(UInt8(plain)) || isLetter(UInt8(plain))
      else { continue }
      table[value] = .ascii(String(Character(scalar)))
    }
    return table
  }()
}
