import ArgumentParser
import Foundation
import Kernels
import Machine
import ModelFiles
import Observability

struct Convert: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Writes a model as a Hugging Face directory that transformers loads.",
    discussion: "From GGUF, weights are dequantised and the tokenizer's files are built from the metadata.")

  @Option(help: "A Hugging Face directory or a GGUF file.")
  var model: String
  @Option(help: "Directory of the checkpoint; must not exist or be empty.")
  var output: String
  @Option(help: "Number format of the weights: bfloat16 or float32.")
  var dtype = ComputeType.bfloat16

  func run() throws {
    let source = try ModelSource.open(path: model)
    for name in source.unusedTensors {
      Console.standardError.writeLine(
        "softgrpo: \(model): the tensor \(name) has no place in the model and is left out")
    }
    let total = source.configuration.parameterShapes().count
    var progress = ProgressReporter(label: "convert", total: total, unit: "tensor")
    var done = 0
    let start = MonotonicClock.seconds()
    try CheckpointWriter.write(
      configuration: source.configuration, elementType: CheckpointElementType(dtype),
      tokenizer: .source(source.tokenizer), to: output
    ) { name, body in
      let count = source.shape(of: name)?.reduce(1, *) ?? 0
      if dtype == .float32 {
        let values = AlignedBuffer<Float>(count: count)
        try source.readTensor(name: name, into: values.elements)
        try body(.float32(UnsafeBufferPointer(values.elements)))
      } else {
        let values = AlignedBuffer<BFloat16>(count: count)
        try source.readTensorBFloat16(name: name, into: values.elements)
        try body(.bfloat16(UnsafeBufferPointer(values.elements)))
      }
      done += 1
      if MonotonicClock.seconds() - start > 1 { progress.update(completed: done, at: MonotonicClock.seconds()) }
    }
    progress.finish(completed: total, at: MonotonicClock.seconds(), detail: "written to \(output)")
  }
}
