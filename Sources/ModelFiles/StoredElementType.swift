/// How numbers are stored in a file: plain elements, or blocks of quantised ones (llama.cpp's layouts).
enum StoredElementType: String, Sendable, CaseIterable {
  case float32 = "F32"
  case float16 = "F16"
  case bfloat16 = "BF16"
  case float64 = "F64"
  case q8_0 = "Q8_0"
  case q4_0 = "Q4_0"
  case q4_1 = "Q4_1"
  case q4_K = "Q4_K"
  case q6_K = "Q6_K"

  /// Elements that are stored together; rows hold whole blocks.
  var blockElements: Int {
    switch self {
    case .float32, .float16, .bfloat16, .float64: 1
    case .q8_0, .q4_0, .q4_1: 32
    case .q4_K, .q6_K: 256
    }
  }

  /// Bytes of one block.
  var blockBytes: Int {
    switch self {
    case .float32: 4
    case .float16, .bfloat16: 2
    case .float64: 8
    case .q8_0: 34
    case .q4_0: 18
    case .q4_1: 20
    case .q4_K: 144
    case .q6_K: 210
    }
  }

  /// Bytes of `count` elements; nil when they are not whole blocks or the size does not fit `Int`.
  func byteCount(elements count: Int) -> Int? {
    guard count >= 0, count % blockElements == 0 else { return nil }
    let (bytes, overflow) = (count / blockElements).multipliedReportingOverflow(by: blockBytes)
    return overflow ? nil : bytes
  }

  /// Types a safetensors file may use, by their names there.
  static let safetensorsTypes: [String: StoredElementType] = [
    "F32": .float32, "F16": .float16, "BF16": .bfloat16, "F64": .float64,
  ]

  /// Types a GGUF file may use, by `ggml_type` number.
  static let ggmlTypes: [UInt32: StoredElementType] = [
    0: .float32, 1: .float16, 30: .bfloat16, 28: .float64, 8: .q8_0, 2: .q4_0, 3: .q4_1, 12: .q4_K, 14: .q6_K,
  ]

  /// Names of GGUF types for messages about those that are not supported.
  static func ggmlName(_ type: UInt32) -> String {
    let names: [UInt32: String] = [
      6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 13: "Q5_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS",
      18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32",
      27: "I64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
    ]
    return ggmlTypes[type]?.rawValue ?? names[type] ?? "number \(type)"
  }
}
