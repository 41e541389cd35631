import CProtobufC
import CWireMessages
import Parameters

// Parts of the method on the wire: values to C messages and back. What a name means is for the receiver to know.

func encode(_ part: PartDescription, _ arena: inout MessageArena) throws -> UnsafeMutablePointer<Softgrpo__Part> {
  try part.validate()
  let body = arena.message(softgrpo__part__init)
  body.pointee.name = arena.string(part.name)
  let sorted = part.values.values.sorted { $0.key < $1.key }
  var parameters: [UnsafeMutablePointer<Softgrpo__PartParameter>?] = []
  for (name, value) in sorted {
    let parameter = arena.message(softgrpo__part_parameter__init)
    parameter.pointee.name = arena.string(name)
    switch value {
    case .integer(let integer):
      parameter.pointee.value_case = SOFTGRPO__PART_PARAMETER__VALUE_INTEGER
      parameter.pointee.integer = Int64(integer)
    case .number(let number):
      parameter.pointee.value_case = SOFTGRPO__PART_PARAMETER__VALUE_NUMBER
      parameter.pointee.number = number
    case .flag(let flag):
      parameter.pointee.value_case = SOFTGRPO__PART_PARAMETER__VALUE_FLAG
      parameter.pointee.flag = flag ? 1 : 0
    case .text(let text):
      parameter.pointee.value_case = SOFTGRPO__PART_PARAMETER__VALUE_TEXT
      parameter.pointee.text = arena.string(text)
    case .null: break
    }
    parameters.append(parameter)
  }
  body.pointee.n_parameters = parameters.count
  body.pointee.parameters = arena.array(parameters)
  return body
}

func decode(_ body: Softgrpo__Part, _ field: String) throws -> PartDescription {
  try require(body.n_parameters <= WireLimits.partParameterCount, "\(field) has too many parameters")
  var values = ParameterValues()
  var previous: String?
  for index in 0..<body.n_parameters {
    guard let parameter = body.parameters[index]?.pointee else { throw WireError("\(field) lacks a parameter") }
    let name = try string(parameter.name, "\(field).parameters.name")
    if let previous { try require(previous < name, "\(field).parameters are not ascending") }
    previous = name
    switch parameter.value_case {
    case SOFTGRPO__PART_PARAMETER__VALUE_INTEGER: values[name] = .integer(Int(parameter.integer))
    case SOFTGRPO__PART_PARAMETER__VALUE_NUMBER: values[name] = .number(parameter.number)
    case SOFTGRPO__PART_PARAMETER__VALUE_FLAG: values[name] = .flag(parameter.flag != 0)
    case SOFTGRPO__PART_PARAMETER__VALUE_TEXT:
      values[name] = .text(try string(parameter.text, "\(field).parameters.text"))
    default: values[name] = .null
    }
  }
  let part = PartDescription(name: try string(body.name, "\(field).name"), values: values)
  try part.validate()
  return part
}

extension PartDescription {
  func validate() throws {
    try require(!name.isEmpty, "a part's name is empty")
    try Wire.validate(name, "a part's name")
    try require(values.values.count <= WireLimits.partParameterCount, "part \(name) has too many parameters")
    for (key, value) in values.values {
      try require(!key.isEmpty, "a parameter of part \(name) has no name")
      try Wire.validate(key, "a parameter's name")
      switch value {
      case .number(let number): try require(number.isFinite, "parameter \(key) of part \(name) is not finite")
      case .text(let text): try Wire.validate(text, "parameter \(key)")
      case .integer, .flag, .null: break
      }
    }
  }
}
