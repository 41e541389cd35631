import Tasks
import Testing

@testable import Verifier

@Suite struct MathVerifierTests {
  @Test(arguments: [
    ("0.5", "1/2"), ("\\frac12", "0.5"), ("\\dfrac{1}{2}", "\\tfrac{1}{2}"), ("\\frac 59", "5/9"),
    ("\\frac9{19}", "9/19"),
    ("1\\frac{4}{5}", "9/5"), ("2 1/2", "2.5"), ("-1\\frac{1}{2}", "-1.5"), ("\\frac{-1}{2}", "-0.5"),
    ("-\\frac{1}{2}", "-.5"),
    ("1,000", "1000"), ("10,\\!080", "10080"), ("11,\\! 111,\\! 111,\\! 100", "11111111100"), ("10{,}080", "10,080"),
    ("1,450,000.50", "1450000.5"), ("\\$32,\\!348", "32348"), ("$18", "18"), ("18 dollars", "18"), ("£18.00", "18"),
    ("5.4 \\text{ cents}", "5.4"), ("864 \\mbox{ inches}^2", "864"), ("\\frac{270}7\\text{ degrees}", "270/7"),
    ("90^\\circ", "90"), ("90^{\\circ}", "90°"), ("15\\ \\mathrm{cm}", "15"), ("50\\%", "50"), ("50%", "0.5"),
    ("50%", "1/2"),
    ("−5", "-5"), ("+5", "5"), ("007", "7"), ("5.", "5"), ("3.10", "3.1"), ("1e3", "1000"), ("1.2E-3", "0.0012"),
    ("1.2 \\times 10^{5}", "120000"), ("1.2×10^-3", ".0012"), ("10^6", "1000000"), ("**42**", "42"), ("42.", "42"),
    ("\\boxed{42}", "42"), ("\\text{Evelyn}", "evelyn"), ("\\text{(C)}", "C"), ("(C)", "\\textbf{C}"),
    ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\pi/2)"), ("(3, π/2)", "\\left(3,\\dfrac{\\pi}{2}\\right)"),
    ("(3,4]", "( 3, 4 ]"), ("\\left(\\frac{3}{5},\\frac{8}{3}\\right]", "(0.6,8/3]"), ("(-∞, 0]", "(-\\infty,0]"),
    ("x \\in [-2,7]", "[-2,7]"), ("x=5", "5"), ("x = 5", "5"), ("f(x)=2k", "2k"), ("3, 5, 7", "7,3,5"),
    ("3, 5, and 7", "3,5,7"), ("3 or 5", "5, 3"), ("\\{1,2\\}", "\\{2, 1\\}"), ("11\\sqrt2", "11\\sqrt{2}"),
    ("11√2", "11\\sqrt{2}"),
    ("2*sqrt(113)", "2\\sqrt{113}"), ("3 \\sqrt{5}", "3\\sqrt{5}"), ("\\frac{\\sqrt{3}}{3}", "\\sqrt{3}/3"),
    ("\\frac{3\\sqrt{3}}{4}", "3\\sqrt{3}/4"), ("4210_{5}", "4210_5"), ("x^{10}", "x^10"),
    ("288 \\pi", "288\\cdot\\pi"),
    ("6 - 5i", "6-5i"), ("\\frac{11+9a}{20}", "(11+9a)/20"), ("1 ± \\sqrt{19}", "1 \\pm \\sqrt{19}"),
    ("\\begin{pmatrix} -1/3 \\\\ 2/3 \\end{pmatrix}", "\\begin{pmatrix}-\\frac{1}{3}\\\\ \\frac{2}{3}\\end{pmatrix}"),
    (
      "100000000000000000000000000000000000000000000001",
      "100,000,000,000,000,000,000,000,000,000,000,000,000,000,000,001"
    ),
    ("0000100000000000000000000000000000000000000000000.50", "100000000000000000000000000000000000000000000.5"),
  ])
  func equal(_ a: String, _ b: String) {
    #expect(MathVerifier.areEqual(a, b), "\(a) = \(b)")
    #expect(MathVerifier.areEqual(b, a), "\(b) = \(a)")
  }

  @Test(arguments: [
    ("0.333", "1/3"), ("0.5", "50"), ("5", "-5"), ("1/2", "2/1"), ("1\\frac{4}{5}", "14/5"), ("(1,2)", "(2,1)"),
    ("(3,4]", "[3,4]"), ("(3,4]", "(3,4)"), ("3,5", "3,5,7"), ("{1,2}", "(1,2)"), ("5", "5 \\pi"), ("5", "5x"),
    ("5", "5 x"),
    ("18", "18 or 20"), ("x=5", "y=5"), ("2k", "2"), ("C", "(D)"), ("east", "west"), ("1e3", "1e4"), ("", ""),
    ("", "5"),
    ("1,000", "1,00"), ("52_8", "52"), ("1/0", "0"), ("50%", "5"), ("50%", "0.05"), ("\\sqrt{5}", "5"), ("x+1", "1"),
    ("100000000000000000000000000000000000000000000001", "100000000000000000000000000000000000000000000002"),
    ("1.00000000000000000001", "1"),
    ("170141183460469231731687303715884105728", "-170141183460469231731687303715884105728"),
  ])
  func different(_ a: String, _ b: String) {
    #expect(!MathVerifier.areEqual(a, b), "\(a) != \(b)")
    #expect(!MathVerifier.areEqual(b, a), "\(b) != \(a)")
  }

  @Test(arguments: [
    ("So \\boxed{17} wait, \\boxed{\\frac{1}{2}}.", "0.5"), ("\\boxed{\\text{(C)}}", "C"), ("\\fbox{8}", "8"),
    ("first\n#### 12\nmore\n#### 1,450\n", "1450"), ("The final answer is: 18", "18"), ("The answer is $18$.", "18"),
    ("The answer is $18. Thanks", "18"), ("The final answer is $\\boxed{3}$", "3"), ("the ANSWER IS **7**.", "7"),
    ("Answer: \\(x = 5\\)", "5"), (" 18", "18"), ("I think it is 42.", "42"), ("It costs -2.5 dollars", "-2.5"),
    ("p - q", "p - q"), ("\n\n 3\\sqrt{13}\n", "3\\sqrt{13}"), ("about 1/2", ".5"), ("a total of $1,234.50", "1234.5"),
    ("\\boxed{\\left\\{1, 2\\right\\}}", "\\{1,2\\}"), ("The answer is 3.14", "3.14"), ("she pays 75%", "75"),
    ("3 + 4 = 7", "7"),
    ("we get **12**", "12"), ("about 5cm", "5"), ("they earn $40", "40"),
  ])
  func extracted(_ completion: String, _ answer: String) {
    #expect(MathVerifier().isCorrect(completion, answer: answer), "\(completion)")
  }

  @Test(arguments: [
    ("\\boxed{17} so 18", "18"), ("The answer is 17, not 18", "18"), ("2x+18", "17"), ("#### 3\nor 4", "4"), ("", "0"),
    ("no idea", "5"), ("I think 3 and then 42.", "42"), ("\\frac{3}{2}", "2"), ("2k + 2", "2"), ("it is x - 3", "3"),
    ("or 6 - 5i", "5"),
    ("so \\left( 3, \\frac{\\pi}{2} \\right)", "2"), ("\\boxed{}", "5"), ("The answer is 5 or 6", "5"),
  ])
  func notExtracted(_ completion: String, _ answer: String) {
    #expect(!MathVerifier().isCorrect(completion, answer: answer), "\(completion)")
  }

  @Test func unfinishedBoxIsNoConclusion() {
    #expect(AnswerExtraction.finalAnswer(in: "\\boxed{5} and \\boxed{6") == nil)
    #expect(AnswerExtraction.finalAnswer(in: "\\boxed{5} and \\boxed{6}") == "\\boxed{5} and \\boxed{6}")
    #expect(AnswerExtraction.finalAnswer(in: "") == nil)
  }

  @Test func markersCanBeRequired() {
    let strict = MathVerifier(requiresMarker: true)
    #expect(!strict.isCorrect("18", answer: "18") && !strict.isCorrect("it is 18", answer: "18"))
    #expect(strict.isCorrect("\\boxed{18}", answer: "18") && strict.isCorrect("#### 18", answer: "18"))
  }

  @Test func workedReferenceIsReduced() {
    #expect(MathVerifier().isCorrect("18", answer: "She sells 9 at 2: 9*2 = <<9*2=18>>18\n#### 18"))
  }

  @Test func hostileInputEnds() {
    let size = 100_000
    let digits = String(repeating: "7", count: size)
    #expect(MathVerifier().isCorrect(digits, answer: "7") == false)
    #expect(MathVerifier.areEqual(digits, digits))
    #expect(!MathVerifier.areEqual(digits, digits + "1"))
    let nine = String(repeating: "9", count: 15_000)
    #expect(MathVerifier.areEqual(nine, "0" + nine) && !MathVerifier.areEqual(nine, "-" + nine))
    #expect(!MathVerifier.areEqual("1e999999999999999999999", "1") && !MathVerifier.areEqual("10^99999999999", "1"))
    for piece in [
      "\\boxed{", "{", "}", "(", "\\frac{", "\\frac", "\\sqrt[", "\\text{", "^{", "_", ",", "1,", "answer:. ",
      "answer:", "#", "####\n",
      "\\", "$", "\\(", "1/", "-", " ", "\\left(", "\\begin{", "1 1/", "and ", "é", "−",
    ] {
      let text = String(repeating: piece, count: size / piece.utf8.count)
      _ = MathVerifier().isCorrect(text, answer: "5")
      let short = String(repeating: piece, count: 19_000 / piece.utf8.count)
      _ = MathVerifier.areEqual(short, "(1,2)")
      _ = MathVerifier.areEqual(short, short + "1")
    }
  }

  /// Random strings over the symbols the reader knows: no trap, and equality is reflexive and symmetric.
  @Test func randomTextIsSafe() {
    let pieces = [
      "\\frac", "\\sqrt", "{", "}", "(", ")", "[", "]", ",", ", ", ".", "/", "-", "+", "%", "$", "^", "_", "\\",
      "\\text", "\\left",
      "\\{", "\\}", "\\!", "\\,", " ", "1", "10", "000", "99999999999999999999999999999999999999", "e", "E5", "*10^",
      "x", "=", "and",
      "\\in ", "\\boxed", "####", "answer is", "π", "−", "°", "\n", "cm", "\\pm",
    ]
    var generator = SplitMix64(seed: 20)
    for _ in 0..<3000 {
      let texts = (0..<2).map { _ in
        (0..<(1 + Int(generator.below(9)))).map { _ in pieces[Int(generator.below(UInt64(pieces.count)))] }.joined()
      }
      #expect(MathVerifier.areEqual(texts[0], texts[1]) == MathVerifier.areEqual(texts[1], texts[0]), "\(texts)")
      let spelling = ExpressionParser.spelling(AnswerLexer.tokens(Array(texts[0].utf8)[...], .mathematics).tokens[...])
      #expect(MathVerifier.areEqual(texts[0], texts[0]) == !spelling.isEmpty, "\(texts[0])")
      _ = MathVerifier().isCorrect(texts[0], answer: texts[1])
    }
  }
}
