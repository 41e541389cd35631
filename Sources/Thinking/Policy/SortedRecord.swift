/// What is wrong with the shape of a record whose ids are distinct and whose values are sorted, largest first; or nil.
///
/// - Precondition: there is a value.
func sortedRecordProblem(_ record: StepRecord, topK: Int) -> String? {
  let (ids, values) = (record.ids, record.values)
  if values.count > ids.count { return "\(values.count) values for \(ids.count) ids; a value needs its id" }
  if ids.count > topK { return "\(ids.count) ids, but policy.top_k is \(topK)" }
  for i in ids.indices {
    for j in 0..<i where ids[j] == ids[i] { return "token id \(ids[i]) appears twice" }
  }
  for i in values.indices.dropFirst() where !(values[i - 1] >= values[i]) {
    return "values are not sorted largest first (\(values[i - 1]) before \(values[i]))"
  }
  return nil
}
