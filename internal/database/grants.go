package database

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lib/pq"

	"github.com/countersign/countersign/secrets"
)

// grant is one thing that a service may do: a privilege on columns of a table,
// and which rows it holds for. This table is the whole of what services may
// do; grants_test.go lists the same.
type grant struct {
	privilege string // SELECT, INSERT, UPDATE or DELETE
	table     string
	columns   string // of SELECT, INSERT, UPDATE; empty: all
	rows      string // SQL condition; empty: all
	// check is what holds of a row after UPDATE; empty: rows.
	check string
}

// Columns that a writer sets; the others have defaults that it cannot touch:
// identities, times, states.
const (
	requestColumns = "id, body, hash, fingerprint, owner, kind, wallet, expires_at"
	taskColumns    = "consumer, request_id, leased_until"
	taskState      = "state, available_at, attempts, seen_reply, note, leased_until, version"
	replyColumns   = "request_id, sender, body, attachment, epochs, decisive"
	replyPublic    = "id, request_id, sender, body, epochs, decisive, created_at"
	intentColumns  = "request_id, instance, body"
	resultColumns  = "request_id, status, body"
	noticeColumns  = "topic, key, sender, body, expires_at"
	walletColumns  = "id, owner, descriptor, ciphertext"
	walletPublic   = "id, owner, descriptor, created_at"
	accountColumns = "id, wallet_id, owner, descriptor, ciphertext"
	accountPublic  = "id, wallet_id, owner, descriptor, created_at"
	recordColumns  = "role, seq, body, mac"
	auditColumns   = "kind, request_id, body"
)

// grants returns all that a service may do.
func grants(service string) []grant {
	switch service {
	case secrets.ServiceProposer:
		return proposerGrants()
	case secrets.ServiceOperator:
		return operatorGrants()
	case secrets.ServiceSigning:
		return signingGrants()
	}
	return roleGrants(service)
}

// own is the service's name as an SQL string. It is written into the policies
// as a constant, so that the planner can use it with an index.
func own(service string) string { return pq.QuoteLiteral(service) }

// operatorNotices are policy documents and the files of their lists.
const operatorNotices = "topic IN ('policy', 'list')"

// operatorGrants let the operator store policy documents and, to try one out
// before it is live, read what was requested and decided: no sealed key, no
// sealed share and no task.
func operatorGrants() []grant {
	return []grant{
		{privilege: "SELECT", table: "notice", rows: operatorNotices},
		{privilege: "INSERT", table: "notice", columns: noticeColumns, rows: operatorNotices + " AND sender = " + own(secrets.ServiceOperator)},
		{privilege: "SELECT", table: "request", columns: "id, body, submitted_at"},
		{privilege: "SELECT", table: "reply", columns: "id, request_id, sender, body"},
		{privilege: "SELECT", table: "result", columns: "request_id, status"},
		{privilege: "SELECT", table: "wallet", columns: "id, descriptor"},
		{privilege: "SELECT", table: "account", columns: "id, descriptor"},
	}
}

func proposerGrants() []grant {
	return []grant{
		{privilege: "SELECT", table: "request"},
		{privilege: "INSERT", table: "request", columns: requestColumns},
		{privilege: "SELECT", table: "task"},
		{privilege: "INSERT", table: "task", columns: taskColumns + ", available_at"},
		proposerTasks(),
		{privilege: "DELETE", table: "task", rows: webhookTasks},
		{privilege: "SELECT", table: "reply", columns: replyPublic},
		{privilege: "SELECT", table: "intent", columns: "request_id"}, // that there is one, to tell who cancels too late
		{privilege: "SELECT", table: "result"},
		{privilege: "SELECT", table: "notice", rows: "topic = 'policy'"},
		{privilege: "SELECT", table: "wallet", columns: walletPublic},
		{privilege: "SELECT", table: "account", columns: accountPublic},
	}
}

// webhookTasks are the tasks of outcome webhooks, which the proposer consumes.
const webhookTasks = "consumer LIKE 'webhook:%'"

// proposerTasks are the two kinds of tasks that the proposer changes. Of the signing
// service's it may change none without cancelling its request.
func proposerTasks() grant {
	signing := "consumer = " + own(secrets.ServiceSigning)
	return grant{
		privilege: "UPDATE", table: "task", columns: "cancelled, " + taskState,
		rows: webhookTasks + " OR " + signing, check: webhookTasks + " OR (" + signing + " AND cancelled)",
	}
}

// signingGrants let the signing service see every task, to tell who is still
// at work, but change its own only.
func signingGrants() []grant {
	mine := "consumer = " + own(secrets.ServiceSigning)
	return []grant{
		{privilege: "SELECT", table: "request"},
		{privilege: "SELECT", table: "task"},
		{privilege: "INSERT", table: "task", columns: taskColumns},
		{privilege: "UPDATE", table: "task", columns: taskState, rows: mine},
		{privilege: "DELETE", table: "task", rows: mine},
		{privilege: "SELECT", table: "reply"},
		{privilege: "SELECT", table: "intent"},
		{privilege: "INSERT", table: "intent", columns: intentColumns},
		{privilege: "SELECT", table: "result"},
		{privilege: "INSERT", table: "result", columns: resultColumns},
		{privilege: "SELECT", table: "notice", rows: "topic <> 'list'"},
		{privilege: "INSERT", table: "notice", columns: noticeColumns, rows: "topic IN ('hello', 'policy') AND sender = " + own(secrets.ServiceSigning)},
		{privilege: "DELETE", table: "notice", rows: "expires_at < now()"},
		{privilege: "SELECT", table: "wallet"},
		{privilege: "INSERT", table: "wallet", columns: walletColumns},
		{privilege: "SELECT", table: "account"},
		{privilege: "INSERT", table: "account", columns: accountColumns},
		{privilege: "SELECT", table: "audit_entry"},
		{privilege: "INSERT", table: "audit_entry", columns: auditColumns},
	}
}

// roleGrants are those of a policy role. It reads no other's replies: it
// decides for itself. (Lone ones it can hear: see docs/decisions/queue.md.)
func roleGrants(role string) []grant {
	mine, sent := "consumer = "+own(role), "sender = "+own(role)
	return []grant{
		{privilege: "SELECT", table: "request"},
		{privilege: "SELECT", table: "task", rows: mine},
		{privilege: "UPDATE", table: "task", columns: taskState, rows: mine},
		{privilege: "DELETE", table: "task", rows: mine},
		{privilege: "INSERT", table: "reply", columns: replyColumns, rows: sent},
		{privilege: "SELECT", table: "result"},
		{privilege: "SELECT", table: "notice", rows: "topic IN ('hello', 'policy', 'list') OR " + sent},
		{privilege: "INSERT", table: "notice", columns: noticeColumns, rows: "topic = 'announcement' AND " + sent},
		{privilege: "SELECT", table: "wallet", columns: walletPublic},
		{privilege: "SELECT", table: "account", columns: accountPublic},
		{privilege: "SELECT", table: "record", rows: "role = " + own(role)},
		{privilege: "INSERT", table: "record", columns: recordColumns, rows: "role = " + own(role)},
	}
}

// tables are all tables, for taking rights away before giving them.
var tables = []string{
	"request", "task", "reply", "intent", "result", "notice", "wallet", "account", "record", "audit_entry",
}

// statements returns the SQL that gives a service exactly its grants: all
// rights are taken from its login role first.
func statements(service string) []string {
	role := pq.QuoteIdentifier(Role(service))
	out := []string{
		"REVOKE ALL ON ALL TABLES IN SCHEMA " + Schema + " FROM " + role,
		"REVOKE ALL ON ALL SEQUENCES IN SCHEMA " + Schema + " FROM " + role,
		"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA " + Schema + " FROM " + role,
		"REVOKE ALL ON SCHEMA " + Schema + " FROM " + role,
		"GRANT USAGE ON SCHEMA " + Schema + " TO " + role,
	}
	for _, table := range tables {
		for _, privilege := range []string{"SELECT", "INSERT", "UPDATE", "DELETE"} {
			out = append(out, fmt.Sprintf("DROP POLICY IF EXISTS %s ON %s.%s",
				policyName(service, privilege), Schema, table))
		}
	}
	for _, g := range grants(service) {
		out = append(out, g.statements(service, role)...)
	}
	return slices.Clip(out)
}

func (g grant) statements(service, role string) []string {
	columns := ""
	if g.columns != "" {
		columns = " (" + g.columns + ")"
	}
	rows := g.rows
	if rows == "" {
		rows = "true"
	}
	check := g.check
	if check == "" {
		check = rows
	}
	condition := "USING (" + rows + ")"
	switch g.privilege {
	case "INSERT":
		condition = "WITH CHECK (" + rows + ")"
	case "UPDATE":
		condition += " WITH CHECK (" + check + ")"
	}
	return []string{
		fmt.Sprintf("GRANT %s%s ON %s.%s TO %s", g.privilege, columns, Schema, g.table, role),
		fmt.Sprintf("CREATE POLICY %s ON %s.%s FOR %s TO %s %s",
			policyName(service, g.privilege), Schema, g.table, g.privilege, role, condition),
	}
}

func policyName(service, privilege string) string {
	return pq.QuoteIdentifier(service + "_" + strings.ToLower(privilege))
}
