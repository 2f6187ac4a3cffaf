package document

import (
	"crypto"
	"time"

	"github.com/countersign/countersign/internal/message"
)

// Who asks for a freeze is no user: these stand before their names.
const (
	freezerApprover = "approver:"
	freezerAdmin    = "admin:"
)

// freezer finds who may stop a wallet or a user alone: every approver, and every
// policy admin in force. No grant is needed, and none can give it to others.
func (a *Active) freezer(thumbprint string) (User, crypto.PublicKey, bool) {
	if k, ok := a.lookup().voterKeys[thumbprint]; ok {
		return User{ID: freezerApprover + k.approver}, k.key, true
	}
	for _, admin := range a.next.Admins {
		if admin.Key.Thumbprint() == thumbprint {
			key, err := admin.Key.Ed25519()
			return User{ID: freezerAdmin + admin.Name}, key, err == nil
		}
	}
	return User{}, nil, false
}

// Thaws says whether the document takes back the freeze that was asked for by a
// request.
func (a *Active) Thaws(request string) bool { return a.lookup().thawed[request] }

// VerifyFreezer verifies a statement's signature alone, by a key of somebody who
// may ask for a freeze, and returns that person's name as VerifyUser gives it.
// What is asked for, and until when, it does not look at.
func VerifyFreezer(a *Active, env message.Envelope, now time.Time) (string, *message.Reason) {
	user, reason := verifyStatement(a.freezer, env, now)
	return user.ID, reason
}
