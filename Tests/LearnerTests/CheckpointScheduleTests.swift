import Testing

@testable import Learner

@Suite struct CheckpointScheduleTests {
  @Test func everySoManySteps() {
    var schedule = CheckpointSchedule(interval: 3, lastStep: 4)
    #expect((5...9).filter { schedule.isDue(at: $0, now: 0) } == [6, 9])
    schedule.succeeded(at: 6)
    #expect(schedule.lastStep == 6)
    #expect(!(0...9).contains { CheckpointSchedule(interval: 0, lastStep: 0).isDue(at: $0, now: 1e9) })
  }

  @Test func againAfterOneThatFailed() {
    var schedule = CheckpointSchedule(interval: 100, lastStep: 0)
    schedule.failed(now: 10)
    #expect(!schedule.isDue(at: 101, now: 10 + CheckpointSchedule.pause / 2))
    #expect(schedule.isDue(at: 101, now: 10 + CheckpointSchedule.pause))
    schedule.succeeded(at: 101)
    #expect(!schedule.isDue(at: 102, now: 1e6) && schedule.lastStep == 101)
  }
}
