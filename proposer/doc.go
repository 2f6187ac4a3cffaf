// Package proposer is the HTTP API: it lets end users in, puts their requests
// on the queue and shows them what became of them.
//
// It trusts the TLS stack, the token issuers' keys (package token) and the
// policy document that the admins' quorum signed, and nobody trusts it: every
// policy service and the signing service verify the user's own signature over
// the exact bytes of the statement again. What it says to a user is for display.
//
// It never holds a key that matters, never lets an access token or a
// certificate into the queue or a log, never changes a byte of a statement,
// and never decides whether a request may be signed.
package proposer
