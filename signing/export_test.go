package signing

// OnAllCores is exported for tests.
var OnAllCores = onAllCores
