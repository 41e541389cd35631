/// The version of this build, part of the fingerprint.
public let buildVersion = "0.1.0"
