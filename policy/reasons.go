package policy

import (
	"errors"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
)

// Stable reason codes of the runtime itself; deciders have their own.
const (
	// ReasonEnvelope: the stored envelope does not decode, or names another
	// version, deployment or request.
	ReasonEnvelope = "invalid_envelope"
	// ReasonAltered: the stored bytes are not those that were hashed when the
	// request was written.
	ReasonAltered = "envelope_altered"
	// ReasonKind: the kind is not known.
	ReasonKind = "unknown_kind"
	// ReasonPayload: the payload is not what its kind asks for.
	ReasonPayload = "invalid_payload"
	// ReasonWallet: the wallet or account does not exist.
	ReasonWallet = "unknown_wallet"
	// ReasonDescriptor: the stored descriptor does not fit the statement.
	ReasonDescriptor = "descriptor_mismatch"
	// ReasonGeneration: the key is sealed under a generation of secrets that
	// this service does not hold.
	ReasonGeneration = "unknown_generation"
	// ReasonExpired: the statement's time is over.
	ReasonExpired = "expired"
	// ReasonInterpreter: the interpreter failed on the payload.
	ReasonInterpreter = "not_interpretable"
	// ReasonDecider: the decider failed, which denies.
	ReasonDecider = "decider_failed"
	// ReasonFrozen: an approver or policy admin has stopped the wallet or user.
	ReasonFrozen = "frozen"
	// ReasonFreezeID: the id of a freeze is that of another one on record.
	ReasonFreezeID = "freeze_id_taken"
	// ReasonUnknownUser: nobody of the policy document has this id.
	ReasonUnknownUser = "unknown_user"
	// ReasonPolicy: the policy document that a policy.update carries would not
	// be activated.
	ReasonPolicy = "policy_refused"
	// ReasonHistory: the role's records are broken, which denies everything.
	ReasonHistory = "history_broken"
)

// Bounds of what a rejection says, so that records and replies stay small.
const (
	maxReasons = 16
	maxDetail  = 300 // bytes
	maxCode    = 64  // bytes
)

func because(code, detail string) []message.Reason {
	return []message.Reason{{Code: code, Detail: detail}}
}

// interpretationReason tells a request's own fault from one of this service
// or its database, for which ok is false: such a request is tried again.
func interpretationReason(err error) (reasons []message.Reason, ok bool) {
	switch {
	case errors.Is(err, transaction.ErrNoRecord):
		return because(ReasonWallet, "the wallet or account does not exist"), true
	case errors.Is(err, transaction.ErrDescriptor):
		return because(ReasonDescriptor, "the stored descriptor does not fit the statement"), true
	case errors.Is(err, message.ErrUnknownKind):
		return because(ReasonKind, "the kind is not known"), true
	case errors.Is(err, transaction.ErrPayload):
		// Its text speaks of the user's own bytes only.
		return because(ReasonPayload, err.Error()), true
	case errors.Is(err, errPanic):
		return because(ReasonInterpreter, "the request cannot be interpreted"), true
	}
	return nil, false
}

// tidy bounds reasons that a decider gave. The result is never nil, and not
// empty for a rejection.
func tidy(reasons []message.Reason, rejected bool) []message.Reason {
	out := []message.Reason{}
	for _, r := range reasons {
		if len(out) == maxReasons {
			break
		}
		if r.Code == "" || len(r.Code) > maxCode {
			r.Code = ReasonDecider
		}
		out = append(out, message.Reason{Code: message.Cut(r.Code, maxCode), Detail: message.Cut(r.Detail, maxDetail)})
	}
	if rejected && len(out) == 0 {
		return because(ReasonDecider, "rejected without a reason")
	}
	return out
}
