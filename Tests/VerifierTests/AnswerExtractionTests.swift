import Testing

@testable import Verifier

/// Which conclusion a completion comes to.
@Suite struct AnswerExtractionTests {
  @Test(arguments: [
    ("Therefore, Janet makes $18 every day at the farmer's market.", "18"),
    ("So, the total number of eggs is 16 - 3 - 4 = 9. She makes 9 * 2 = $18.", "18"),
    (
      "Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.\nShe makes 9 * 2 = $<<9*2=18>>18 every day at the farmer's market.\n#### 18",
      "18"
    ),
    ("The answer is: 18 dollars per day.", "18"), ("So Janet makes $18 per day.", "18"),
    ("Thus, he needs 3 bolts in total.", "3"),
    ("It takes 2/2=1 bolt of white fiber. So the total amount of fabric is 2+1=3 bolts of fabric", "3"),
    ("Therefore, the profit is $70,000.", "70000"), ("James runs a total of 540 meters a week.", "540"),
    ("In total, James runs 3*3*60=540 meters.", "540"), ("**Answer: 540 meters**", "540"),
    ("The final answer is \\(\\boxed{540}\\) meters per week.", "540"), ("Final Answer: \\boxed{540}", "540"),
    ("\\[\n\\boxed{540}\n\\]", "540"), ("The answer is 20 cups.", "20"), ("# Answer\n\n20", "20"),
    ("## Answer: 20", "20"), ("Answer\n20", "20"), ("The final result is 64.", "64"),
    ("Hence, the value is 64 dollars.", "64"), ("So the answer is $64.00.", "64"), ("so the answer is 64%", "64"),
    ("So the answer is (C).", "C"), ("The correct answer is (C) 12.", "C"),
    ("The correct answer is C.", "\\text{(C)}"), ("**(C)**", "C"), ("The answer is \\textbf{(C)}.", "C"),
    ("$\\boxed{\\frac{\\pi}{4}+\\frac{1}{2}\\ln 2}$", "\\frac{\\pi+2\\ln 2}{4}"),
    ("The answer is 7/20 of the cake.", "7/20"), ("x = 5", "5"), ("x=5.", "5"), ("5 apples", "5"), ("$5", "5"),
    ("$5.00", "5"), ("5%", "5"), ("five", "5"), ("\\(5\\)", "5"), ("$$5$$", "5"), ("\\[5\\]", "5"), ("**5**", "5"),
    ("The answer is **5 apples**.", "5"), ("The answer is: **$5**", "5"), ("The answer is $\\$5$.", "5"),
    ("The answer is \\$5.", "5"), ("Answer: $5", "5"), ("Answer: $5 per hour", "5"),
    ("<answer>$5 per hour</answer>", "5"), ("<answer>\\boxed{5}</answer>", "5"),
    ("<answer>The answer is 5</answer>", "5"), ("<answer>x = 5</answer>", "5"), ("<ANSWER>5</ANSWER>", "5"),
    ("</think>5", "5"), ("<think>a</think><think>b</think>\\boxed{5}", "5"),
    ("So the answer is 5.\n\nHuman: next question", "5"),
    ("The answer is 5\n\nQuestion: how many is 7?\nSolve", "5"),
    ("\\boxed{5}\n\nTherefore, the final answer is 5.", "5"), ("The answer is 3:2.", "3:2"),
    ("The answer is １２．", "12"), ("答案：12", "12"), ("最终答案是12。", "12"), ("答案为 $\\frac{1}{2}$。", "1/2"),
    ("The answer is 12 - that is, a dozen.", "12"), ("The answer is 12 — as computed.", "12"),
    ("The answer is 12; I am sure.", "12"), ("The answer is 12: nine plus three.", "12"),
    ("The answer is 12 (that is, 9 + 3).", "12"), ("The answer is 9 + 3 = 12.", "12"),
    ("The answer is approximately 12.", "12"), ("The answer is about 12.", "12"),
    ("The answer is simply 12!", "12"), ("The answer is x = 12.", "12"),
    ("The answer is therefore $x = 12$, as claimed.", "12"), ("The answer is 12 hours and that is all.", "12"),
    ("Final answer:\n\n$$\n\\frac{1}{2}\n$$", "0.5"), ("The answer is\n$$x=\\frac{1}{2}.$$", "0.5"),
    ("### Final Answer:\n**\\( \\frac{1}{2} \\)**", "0.5"),
    ("The final answer is $\\frac{1}{2}$. $\\blacksquare$", "0.5"),
    ("\\boxed{\\dfrac{1}{2}} \\quad \\blacksquare", "0.5"), ("The probability is $\\frac{1}{2}$.", "0.5"),
    ("Thus $n = \\boxed{\\,12\\,}$", "12"), ("The answer is Monday.", "Monday"),
    ("The answer is \"Monday\".", "Monday"), ("The answer is True.", "True"), ("The answer is yes.", "Yes"),
    ("The answer is no.", "No"), ("The area is $12$ square units.", "12"),
    ("So the area is 12 square units", "12"), ("The perimeter is 12.", "12"),
    ("The answer is 1,234,567.", "1234567"), ("The answer is 1 234 567.", "1234567"),
    ("The answer is twenty-one.", "21"), ("The answer is one hundred and five.", "105"), ("#### 1,000", "1000"),
    ("#### -5", "-5"), ("#### 5.", "5"), ("#### $1,000.50", "1000.5"), ("#### 5 + 3 = 8", "8"),
    ("#### x = 5", "5"), ("Solution: blah\n#### 5\n\nQ: next\nA: blah", "5"),
    ("The answer is 4 or 10.", "4\\text{ or }10"), ("\\boxed{4} or \\boxed{10}", "4\\text{ or }10"),
    ("\\boxed{\\boxed{9}}", "9"), ("The answer is 9, which is 3^2.", "9"), ("The answer is 9 (nine).", "9"),
    ("The answer is (9).", "9"), ("The answer is: (B) 9", "B"), ("Therefore the answer is\n\n9", "9"),
    ("The answer is\n\\begin{align*}\n9\n\\end{align*}", "9"),
    ("The answer is\n\\begin{equation}\nx=9\n\\end{equation}", "9"),
    ("Answer: **9**\n\nExplanation: 3*3 = 9.", "9"), ("**Answer**\n\n9", "9"),
    ("**Final Answer**: The value is 9.", "9"),
    ("Final Answer: The final answer is $9$. I hope it is correct.", "9"), ("My answer is 9.", "9"),
    ("Our answer is 9.", "9"), ("The correct answer is 9.", "9"), ("Hence answer = 9", "9"), ("Ans: 9", "9"),
    ("ANSWER: 9", "9"), ("answer is 9", "9"), ("The answer is $ 9 $.", "9"), ("The answer is $9 .", "9"),
    ("The answer is 9 .", "9"), ("The answer is 9</answer>", "9"), ("The answer is 9<|eot_id|>", "9"),
    ("The answer is 9.<|im_end|>\n<|im_start|>user", "9"), ("The answer is 9.\n\nThe answer is 9.", "9"),
    ("The answer is 8. No wait, the answer is 9.", "9"), ("The answer is 9 ", "9"),
    ("The answer is 9\u{200B}", "9"), ("The answer is\u{A0}9", "9"), ("The answer is _9_.", "9"),
    ("The answer is *9*.", "9"), ("The answer is <b>9</b>.", "9"), ("The answer is ➡️ 9", "9"),
    ("The answer is 👉 9 🎉", "9"), ("The answer is ≈ 9", "9"), ("The value of x is 9.", "9"),
    ("So x equals 9.", "9"), ("Therefore, x = 9.", "9"), ("Thus, $x=9$.", "9"), ("Total: 9", "9"),
    ("Total cost: $9", "9"), ("Result = 9", "9"), ("So we get 9", "9"), ("It's 9.", "9"), ("Hence 9.", "9"),
    ("So 9.", "9"), ("Therefore, 9 apples are left.", "9"), ("There are 9 apples left.", "9"),
    ("He will have 9 apples.", "9"), ("He has 9 apples left over.", "9"), ("They will need 9 more chairs.", "9"),
    ("Tom is 9 years old.", "9"), ("She spent a total of $9.", "9"), ("The total cost is $9.00", "9"),
    ("So, the number of apples is 3 x 3 = 9.", "9"), ("So, 3 × 3 = 9 apples", "9"), ("3*3=9", "9"),
    ("The total is 4+5=9 apples.", "9"), ("So there were 10 - 1 = 9 left", "9"), ("{\"answer\": 9}", "9"),
    ("{\"final_answer\": \"9\"}", "9"), ("{\"reasoning\": \"3*3\", \"answer\": \"9\"}", "9"),
    ("```json\n{\"answer\": \"9\"}\n```", "9"), ("answer: 9\n", "9"), ("<answer>\n\\[ 9 \\]\n</answer>", "9"),
    ("<answer>9 apples</answer>", "9"), ("<answer> \\boxed{9} apples </answer>", "9"),
    ("<answer>**9**</answer>", "9"), ("<answer>8</answer> wait <answer>9</answer>", "9"),
    ("<answer>B</answer>", "B"), ("<answer>(B)</answer>", "B"), ("<answer>Option B</answer>", "B"),
    ("<answer>B. 9 apples</answer>", "B"), ("B", "B"), ("B.", "B"), ("(B)", "B"), ("B) 9", "B"), ("Option B", "B"),
    ("The answer is B because of 9.", "B"), ("The correct answer is option (B): 9 apples", "B"),
    ("Therefore, the correct choice is B.", "B"), ("Answer: (B)", "B"), ("**Answer: B**", "B"),
    ("The answer is **B. 9 apples**", "B"), ("The best answer is B", "B"),
  ])
  func right(_ completion: String, _ answer: String) {
    let found = MathVerifier().explain(completion, answer: answer)
    #expect(found.verdict == .correct, "\(completion): \(found)")
  }

  @Test(arguments: [
    ("James runs 3 sprints of 60 meters.", "540"), ("The answer is \\textbf{(D)}.", "C"),
    ("The answer is at least 5.", "5"), ("The answer is greater than 5.", "5"), ("The answer is 5 or more.", "5"),
    ("The answer is 5 times 3.", "5"), ("The answer is between 5 and 6.", "5"), ("The answer is 5 + x.", "5"),
    ("The answer is 5^2.", "5"), ("The answer is 5 to the power of 2", "5"), ("The answer is 1/5.", "5"),
    ("The answer is -5.", "5"), ("The answer is 5 hundred.", "5"), ("The answer is 5, or maybe 6.", "5"),
    ("The answer is 5 or 6.", "6"), ("Is the answer 5?", "5"), ("What is the answer? 5?", "5"),
    ("I don't know the answer, 5", "5"), ("If the answer is 5, then x is 3.", "5"), ("Let the answer be 5.", "5"),
    ("Suppose the answer is 5.", "5"), ("1, 2, 3, 4, 5", "5"), ("Step 5", "5"), ("In 2005", "2005"),
    ("She has 5", "6"), ("x > 5", "5"), ("about 5 or 6", "6"),
    ("We get 5 for the first part. Next we compute", "5"), ("The first number is 5. What is the second?", "5"),
    ("<answer>5", "5"), ("<answer></answer>", "5"), ("<answer>5 or 6</answer>", "5"), ("<think>\\boxed{5}", "5"),
    ("The answer is not Monday.", "Monday"), ("The answer is 1.234.567.", "1234567"), ("#### 5\n#### 6", "5"),
    ("The answer is 9. No wait, the answer is 8.", "9"),
    ("He bought 9 apples and 3 pears. How many in total?", "9"), ("Let x = 9 and y = 3", "9"),
    ("Could it be 9?", "9"), ("Maybe 9.", "9"), ("I guess 9 or 10.", "9"), ("Not 9.", "9"), ("9 or 8", "9"),
    ("8, 9", "9"), ("Either 8 or 9.", "9"), ("Page 9", "9"), ("1. First step\n2. Second step\n9. Ninth step", "9"),
    ("9)", "8"), ("<answer>9</answer> wait <answer>8</answer>", "9"), ("The answer is A or B", "B"),
    ("The answer is not B", "B"), ("Options: A, B", "B"),
  ])
  func wrong(_ completion: String, _ answer: String) {
    let found = MathVerifier().explain(completion, answer: answer)
    #expect(found.verdict == .wrong, "\(completion): \(found)")
  }

  @Test(arguments: [
    ("\\boxed{5}", AnswerExtraction.Source.boxed), ("#### 5", .hashes), ("<answer>5</answer>", .tag),
    ("The answer is 5.", .phrase), ("$5$", .whole), ("So she makes 5 dollars a day.", .sentence),
  ])
  func ruleIsNamed(_ completion: String, _ rule: AnswerExtraction.Source) {
    let found = MathVerifier().explain(completion, answer: "5")
    #expect(found.rule == rule && found.verdict == .correct, "\(found)")
  }

  /// The answer behind two megabytes of anything that needs no end is found; nothing else of that size is refused by time.
  @Test(arguments: ["7", "{", "(", "answer is ", "####\n", "$", "\\", "<", "é", "\\frac", "= 5 ", "</think>", "a. "])
  func longTextsAreJudged(_ piece: String) {
    let text = String(repeating: piece, count: 2_000_000 / piece.utf8.count)
    #expect(MathVerifier().isCorrect(text + "\n\nThe answer is 5.", answer: "5"))
    #expect(MathVerifier().isCorrect(text + "\n\\boxed{5}", answer: "5"))
    _ = MathVerifier().isCorrect(text, answer: "5")
  }
}
