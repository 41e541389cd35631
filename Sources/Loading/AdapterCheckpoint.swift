import Foundation
import ModelFiles
import Transformer

extension AdapterWeights {
  /// Writes the adapters as PEFT reads them.
  ///
  /// Beside a merged checkpoint and not into it: where `transformers` finds an `adapter_config.json` it loads the base and the
  /// adapters in place of the merged weights.
  ///
  /// - Parameter baseModel: the directory of the model they belong to; nil when it has none.
  /// - Throws: `ModelFileError` naming the file.
  public func write(baseModel: String?, to directory: String, overwrite: Bool = false) throws {
    let options = layout.options
    let parameters = Dictionary(uniqueKeysWithValues: layout.parameters.map { ($0.name, $0) })
    try AdapterFiles.write(
      AdapterFiles.Configuration(
        baseModel: baseModel.map { URL(fileURLWithPath: $0).standardizedFileURL.path }, rank: options.rank,
        alpha: options.alpha, targets: options.targets.map(\.rawValue)),
      parameters: layout.parameters.map { ($0.name, $0.shape) }, to: directory, overwrite: overwrite
    ) { name, body in
      try body(.bfloat16(UnsafeBufferPointer(rebasing: elements[parameters[name]!.range])))
    }
  }
}
