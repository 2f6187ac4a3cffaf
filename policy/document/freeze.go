package document

import (
	"crypto"
	"slices"
	"strings"
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

// Thaws says whether the document takes back the freeze that somebody asked for
// by a request at a time.
func (a *Active) Thaws(request, by string, at time.Time) bool {
	return a.lookup().thawed[request] || slices.ContainsFunc(a.ThawAll, func(t Thaw) bool {
		return t.By == by && !at.After(t.Until.Time)
	})
}

// VerifyFreezer verifies a statement's signature alone, by a key of somebody who
// may ask for a freeze, and returns that person's name as VerifyUser gives it.
// What is asked for, and until when, it does not look at.
func VerifyFreezer(a *Active, env message.Envelope, now time.Time) (string, *message.Reason) {
	user, reason := verifyStatement(a.freezer, env, now)
	return user.ID, reason
}

// thawAll checks the section of that name.
func (v *validator) thawAll() {
	for _, t := range v.doc.ThawAll {
		name, ok := strings.CutPrefix(t.By, freezerApprover)
		if !ok {
			name, ok = strings.CutPrefix(t.By, freezerAdmin)
		}
		if !ok || name == "" || !printable(name) {
			v.fault("thaw_all: %q is neither %sID nor %sNAME", t.By, freezerApprover, freezerAdmin)
		}
		if t.Until.IsZero() {
			v.fault("thaw_all: %s: until is missing", t.By)
		}
	}
}
