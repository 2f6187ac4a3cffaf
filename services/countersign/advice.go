package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/strictyaml"
	"github.com/countersign/countersign/policy/document"
)

// advised is an error with the next thing to do.
type advised struct {
	error
	next string
}

func (e advised) Unwrap() error { return e.error }

// advise adds to err what the person should do next; nil stays nil.
func advise(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return advised{err, fmt.Sprintf(format, args...)}
}

// nextStep says what to do about an error.
func nextStep(err error) string {
	var told advised
	if errors.As(err, &told) {
		return told.next
	}
	if next, ok := problemSteps[client.Code(err)]; ok {
		return next
	}
	if next := answerStep(err); next != "" {
		return next
	}
	if next := networkStep(err); next != "" {
		return next
	}
	return fileStep(err)
}

// answerStep is for what the client finds out by itself.
func answerStep(err error) string {
	switch {
	case errors.Is(err, client.ErrStatement):
		return problemSteps["invalid_statement"]
	case errors.Is(err, client.ErrRequestID):
		return "give an id that countersign request list shows, or to approvers: countersign approvals list"
	case errors.Is(err, client.ErrWalletID):
		return "give an id that countersign wallet list shows"
	case errors.Is(err, client.ErrResult):
		return "do not rely on it: check that --policy is the document in force, and tell the operators"
	case errors.Is(err, client.ErrOther):
		return "do not rely on it, and tell the operators"
	}
	return ""
}

func networkStep(err error) string {
	var network *net.OpError
	var stranger *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &stranger):
		return "check --ca: the server's certificate does not chain to it, or is for another name"
	case errors.As(err, &plain):
		return "check the address: what answers there does not speak TLS"
	case errors.As(err, &network):
		return "is the deployment running? check its address, or start one with: countersign dev --dir DIR"
	case errors.Is(err, context.DeadlineExceeded):
		return "the service did not answer in time: try again in a moment"
	}
	return ""
}

// fileStep is for files that cannot be read or written, or not understood.
func fileStep(err error) string {
	var file *fs.PathError
	switch {
	case errors.As(err, new(strictyaml.SyntaxError)):
		return `put a text into quotes that begins with a sign such as ! & * @ [ { " or has ": " or " #" in it, and indent with spaces`
	case errors.Is(err, strictyaml.ErrUnseen):
		return "take the character out; cat -A FILE shows where it stands"
	case errors.Is(err, document.ErrForm):
		return "see how a document is written: countersign policy schema"
	case !errors.As(err, &file):
		return ""
	case errors.Is(err, os.ErrExist):
		return "choose another path: nothing is overwritten"
	case errors.Is(err, os.ErrPermission):
		return "see who may read and write it: ls -l " + file.Path
	}
	return "check the path " + file.Path + ": relative ones count from the current folder"
}

// programStep is for what this program does not do by itself.
const programStep = "use the same release as the service: the two do not understand each other"

// problemSteps says what to do about the services' problems, by code.
var problemSteps = map[string]string{
	"unauthenticated":         "check the access token or client certificate: it may have expired, or the policy does not name it",
	"not_found":               "list what there is: countersign request list, or: countersign wallet list",
	"id_conflict":             "make a new request: every statement has an id of its own",
	"wrong_audience":          "check --deployment: the statement is for another deployment",
	"expiry_out_of_range":     "choose another --expires, at most seven days, and check this machine's clock",
	"content_digest_mismatch": "something between you and the service changes what is sent",
	"invalid_statement":       "check the ids and values that you gave",
	"unavailable":             "try again in a moment; nothing was lost",
	"not_ready":               "try again in a moment: the service is starting, or no policy document is active (operators see why in its log)",
	"internal":                "look into the service's log",
	"malformed_request":       programStep,
	"unknown_parameter":       programStep,
	"invalid_parameter":       "check the values of the flags: --help says what each wants",
	"invalid_preference":      programStep,
	"unknown_kind":            programStep,
	"missing_signature":       programStep,
	"invalid_signature":       "check --key: it must be yours, and the clock of this machine must be right",
	"method_not_allowed":      programStep,
	"body_timeout":            "try again: the network was too slow",
	"too_late":                "nothing can be taken back any more; see what became of it: countersign request show ID",
	"statement_too_large":     "ask for less in one request: a statement has at most 131072 bytes",
	"unsupported_media_type":  programStep,
	"rate_limited":            "wait a moment and try again: nothing was accepted",
	"too_many_streams":        "end another countersign request watch, or try again in a moment",
	"issuer_unavailable":      "try again in a moment, or come with a client certificate: --cert FILE",
	"invalid_vote":            programStep,
	"vote_for_other_request":  "look at the request again: countersign approvals show ID; tell the operators if it happens again",
	"vote_too_large":          programStep,
	"http":                    "check the address: what answers there, or between, is no Countersign service",
	"not_an_approver":         "the policy lets other people vote on this",
	"approver_frozen":         "another approver must agree: a freeze stops you until the policy admins take it back",
	"self_approval":           "another approver must agree: the policy forbids agreeing to your own request",
	"request_ended":           "nothing more can be decided; see what became of it: countersign request show ID",
	"already_rejected":        "a rejection is final; a new request is needed",
	"no_vote_needed":          "nothing: it goes on without people",
	"not_decidable":           "nothing: the approval service will reject it",
	"vote_for_other_policy":   "the policy has changed: look at the request again and vote again",
	"vote_not_of_this_time":   "check this machine's clock; the request may have ended",
}

// adviseRequest names the request where the next step is a command about it.
func adviseRequest(err error, id string) error {
	if next, ok := strings.CutSuffix(nextStep(err), " ID"); ok {
		return advise(err, "%s %s", next, id)
	}
	return err
}

// approverSteps are those of the approval service that differ.
var approverSteps = map[string]string{
	"unauthenticated": "check --key: it must be an approver's key of the active policy; check this machine's clock too",
	"not_found":       "list what waits for people: countersign approvals list",
}

// adviseApprover says what to do about an error of the approval service.
func adviseApprover(err error) error {
	if next, ok := approverSteps[client.Code(err)]; ok {
		return advise(err, "%s", next)
	}
	return err
}
