package httpsig

// The general ways, which the usual form is held against.
var (
	SignAny   = signAny
	VerifyAny = verifyAny
)
