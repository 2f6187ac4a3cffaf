package document

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/message"
)

// Webhook is somebody who is told how requests end: each end is posted to URL.
// What it says is for their convenience; the signed result in it is what counts.
type Webhook struct {
	// ID names the webhook in the deployment, for ever: its secret comes from it.
	ID string `yaml:"id"`
	// URL is https, without user info and fragment.
	URL string `yaml:"url"`
	// Users are the users whose requests are told; empty: every user's.
	Users []string `yaml:"users,omitempty"`
	// Statuses are the ends that are told; empty: all.
	Statuses []message.Status `yaml:"statuses,omitempty"`
}

// Bounds of the section.
const (
	// MaxWebhooks is the most webhooks of one document: each costs every proposer
	// some connections.
	MaxWebhooks = 32
	maxURL      = 2048
)

// ends are the statuses with which a request can end.
var ends = []message.Status{
	message.StatusSigned, message.StatusDone, message.StatusRejected,
	message.StatusExpired, message.StatusFailed, message.StatusCancelled,
}

// WebhookID says whether a text has the form of a webhook's id.
func WebhookID(id string) bool { return webhookForm.MatchString(id) }

// Concerns says whether the webhook is told of a user's requests.
func (w Webhook) Concerns(user string) bool {
	return len(w.Users) == 0 || slices.Contains(w.Users, user)
}

// Wants says whether the webhook is told of requests that end so.
func (w Webhook) Wants(s message.Status) bool {
	return len(w.Statuses) == 0 || slices.Contains(w.Statuses, s)
}

// Webhook returns the webhook with an id.
func (a *Active) Webhook(id string) (Webhook, bool) {
	i := slices.IndexFunc(a.Webhooks, func(w Webhook) bool { return w.ID == id })
	if i < 0 {
		return Webhook{}, false
	}
	return a.Webhooks[i], true
}

func (v *validator) webhooks() {
	if n := len(v.doc.Webhooks); n > MaxWebhooks {
		v.fault("webhooks: %d of them, more than %d", n, MaxWebhooks)
	}
	ids := map[string]bool{}
	for _, w := range v.doc.Webhooks {
		switch {
		case !webhookForm.MatchString(w.ID):
			v.fault("webhook %q: id is not usable: it is up to 32 lower-case letters, digits and -, the first a letter or digit", w.ID)
		case ids[w.ID]:
			v.fault("webhook %q: the id stands twice", w.ID)
		}
		ids[w.ID] = true
		if fault := checkURL(w.URL); fault != "" {
			v.fault("webhook %q: url %s", w.ID, fault)
		}
		v.webhookFilters(w)
	}
}

func (v *validator) webhookFilters(w Webhook) {
	users, statuses := map[string]bool{}, map[message.Status]bool{}
	where := fmt.Sprintf("webhook %q", w.ID)
	for _, id := range w.Users {
		v.named(where, "user", id, v.hasUser(id), users)
	}
	for _, s := range w.Statuses {
		switch {
		case !slices.Contains(ends, s):
			v.fault("%s: %q is not how a request ends", where, s)
		case statuses[s]:
			v.fault("%s: status %q stands twice", where, s)
		}
		statuses[s] = true
	}
}

// checkURL says what is wrong with an address; it does not repeat it, for it may
// hold what only the receiver should know. Only printable ASCII is taken, and a
// host that means the same to everybody who reads it.
func checkURL(text string) string {
	if text == "" || len(text) > maxURL || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
		return "is missing, too long, or not printable ASCII"
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.String() != text:
		return "is malformed"
	case u.Scheme != "https" || u.Opaque != "":
		return "does not begin with https://"
	case u.User != nil:
		return "holds a user or password"
	case strings.Contains(text, "#"):
		return "holds a fragment"
	case !hostForm.MatchString(u.Hostname()) || strings.HasSuffix(u.Host, ":") || u.Port() == "0":
		return "has no usable host"
	}
	return ""
}
