package database_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/secrets"
)

// allowed is what each service may do, column by column, written down a second
// time: the test derives every other privilege on every table and column and
// finds it refused. "*" stands for all columns.
var allowed = map[string][]string{
	"proposer": {
		"SELECT request *", "INSERT request id,body,hash,fingerprint,owner,kind,wallet,expires_at",
		"SELECT task *", "INSERT task consumer,request_id,leased_until,available_at",
		"UPDATE task cancelled,state,available_at,attempts,seen_reply,note,leased_until,version", "DELETE task",
		"SELECT reply id,request_id,sender,body,epochs,decisive,created_at",
		"SELECT intent request_id", "SELECT result *", "SELECT notice *",
		"SELECT wallet id,owner,descriptor,created_at",
		"SELECT account id,wallet_id,owner,descriptor,created_at",
	},
	"operator": {
		"SELECT notice *", "INSERT notice topic,key,sender,body,expires_at",
		"SELECT request id,body,submitted_at", "SELECT reply id,request_id,sender,body",
		"SELECT result request_id,status", "SELECT wallet id,descriptor", "SELECT account id,descriptor",
	},
	"signing": {
		"SELECT request *", "SELECT task *", "INSERT task consumer,request_id,leased_until",
		"UPDATE task state,available_at,attempts,seen_reply,note,leased_until,version", "DELETE task",
		"SELECT reply *", "SELECT intent *", "INSERT intent request_id,instance,body",
		"SELECT result *", "INSERT result request_id,status,body",
		"SELECT notice *", "INSERT notice topic,key,sender,body,expires_at", "DELETE notice",
		"SELECT wallet *", "INSERT wallet id,owner,descriptor,ciphertext",
		"SELECT account *", "INSERT account id,wallet_id,owner,descriptor,ciphertext",
		"SELECT audit_entry *", "INSERT audit_entry kind,request_id,body",
	},
	"role": {
		"SELECT request *", "SELECT task *",
		"UPDATE task state,available_at,attempts,seen_reply,note,leased_until,version", "DELETE task",
		"INSERT reply request_id,sender,body,attachment,epochs,decisive",
		"SELECT result *", "SELECT notice *", "INSERT notice topic,key,sender,body,expires_at",
		"SELECT wallet id,owner,descriptor,created_at",
		"SELECT account id,wallet_id,owner,descriptor,created_at",
		"SELECT record *", "INSERT record role,seq,body,mac",
	},
}

func allowedTo(service string) []string {
	if list, ok := allowed[service]; ok {
		return list
	}
	return allowed["role"]
}

// may reports whether the table above gives a privilege on a column ("" for
// the table as a whole).
func may(service, privilege, table, column string) bool {
	for _, line := range allowedTo(service) {
		f := strings.Fields(line)
		if f[0] != privilege || f[1] != table {
			continue
		}
		if len(f) == 2 || f[2] == "*" {
			return true
		}
		for c := range strings.SplitSeq(f[2], ",") {
			if c == column {
				return true
			}
		}
	}
	return false
}

func TestEverythingElseIsRefused(t *testing.T) {
	d := databasetest.New(t)
	_, owner := fresh(t, d)
	columns := tableColumns(t, owner)
	for _, service := range secrets.Services(d.Deployment.Genesis.Roles) {
		t.Run(service, func(t *testing.T) {
			role := "countersign_" + service
			for table, names := range columns {
				for _, privilege := range []string{"DELETE", "TRUNCATE", "TRIGGER"} {
					got := ask(t, owner, "SELECT has_table_privilege($1, $2, $3)", role, "countersign."+table, privilege)
					if want := may(service, privilege, table, ""); got != want {
						t.Errorf("%s on %s: %v, want %v", privilege, table, got, want)
					}
				}
				for _, column := range names {
					for _, privilege := range []string{"SELECT", "INSERT", "UPDATE", "REFERENCES"} {
						got := ask(t, owner, "SELECT has_column_privilege($1, $2, $3, $4)", role, "countersign."+table, column, privilege)
						if want := may(service, privilege, table, column); got != want {
							t.Errorf("%s on %s.%s: %v, want %v", privilege, table, column, got, want)
						}
					}
				}
			}
			for _, held := range besideTables(t, owner, role) {
				t.Errorf("%s is not refused", held)
			}
		})
	}
}

func tableColumns(t *testing.T, db *sql.DB) map[string][]string {
	t.Helper()
	rows, err := db.Query(`SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'countersign'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string][]string{}
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		out[table] = append(out[table], column)
	}
	if len(out) < 11 { // ten tables and goose's
		t.Fatalf("only %d tables", len(out))
	}
	return out
}

func ask(t *testing.T, db *sql.DB, query string, args ...any) (yes bool) {
	t.Helper()
	if err := db.QueryRow(query, args...).Scan(&yes); err != nil {
		t.Fatal(err)
	}
	return yes
}

// What no service may do, whatever its grants.
func TestServicesCannotLeaveTheirRoom(t *testing.T) {
	d := databasetest.New(t)
	for _, service := range secrets.Services(d.Deployment.Genesis.Roles) {
		db := d.As(service)
		for name, statement := range map[string]string{
			"create-table":      "CREATE TABLE countersign.mine (a int)",
			"create-in-public":  "CREATE TABLE public.mine (a int)",
			"create-temporary":  "CREATE TEMPORARY TABLE mine (a int)",
			"create-schema":     "CREATE SCHEMA mine",
			"create-role":       "CREATE ROLE mallory",
			"create-function":   "CREATE FUNCTION countersign.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
			"become-another":    "SET ROLE " + another(service),
			"become-owner":      "SET ROLE postgres",
			"disable-rls":       "ALTER TABLE countersign.task DISABLE ROW LEVEL SECURITY",
			"drop-policy":       "DROP POLICY fraud_select ON countersign.task",
			"copy-from-program": "COPY countersign.request FROM PROGRAM 'id'",
			"read-file":         "SELECT pg_read_file('/etc/passwd')",
			"read-verifiers":    "SELECT rolpassword FROM pg_authid",
			"migrations":        "INSERT INTO countersign.migration (version_id, is_applied) VALUES (9, true)",
			"become-superuser":  "ALTER ROLE countersign_" + service + " SUPERUSER",
			"pass-by-policies":  "ALTER ROLE countersign_" + service + " BYPASSRLS",
			"create-database":   "CREATE DATABASE mine",
			"another-password":  "ALTER ROLE " + another(service) + " PASSWORD 'guessed'",
			"large-object":      "SELECT lo_from_bytea(0, 'x')",
			"next-id":           "SELECT nextval('countersign.reply_id_seq')",
			"replication-off":   "SET session_replication_role = replica",
		} {
			if _, err := db.Exec(statement); err == nil {
				t.Errorf("%s: %s is not refused", service, name)
			}
		}
	}
}

func another(service string) string {
	if service == "signing" {
		return "countersign_fraud"
	}
	return "countersign_signing"
}

// Rows of one role are closed to the others.
func TestAttackRowsOfAnotherRole(t *testing.T) {
	d := databasetest.New(t)
	for _, statement := range []string{
		`INSERT INTO countersign.task (consumer, request_id) SELECT c, gen_random_uuid() FROM unnest('{signing,fraud,approval,webhook:a,webhook:b,webhooks}'::text[]) c`,
		`INSERT INTO countersign.record (role, seq, body, mac) VALUES ('fraud', 0, 'x', decode(repeat('00', 32), 'hex'))`,
		`INSERT INTO countersign.notice (topic, key, sender, body) VALUES ('announcement', 'k', 'fraud', 'x')`,
		`INSERT INTO countersign.notice (topic, key, sender, body) VALUES ('list', 'k', 'operator', 'x')`,
	} {
		if _, err := d.Owner.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	const uuid = "00000000-0000-7000-8000-000000000000"
	reply := "INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive) VALUES ('" + uuid + "', '%s', '', '', '{}', true)"
	notice := "INSERT INTO countersign.notice (topic, key, sender, body) VALUES ('%s', 'new', '%s', '')"
	record := "INSERT INTO countersign.record (role, seq, body, mac) VALUES ('%s', 1, '', decode(repeat('00', 32), 'hex'))"
	for _, c := range []struct{ name, service, statement string }{
		{"reply-as-another", "approval", fmt.Sprintf(reply, "fraud")},
		{"reply-as-signing", "approval", fmt.Sprintf(reply, "signing")},
		{"reply-by-signing", "signing", fmt.Sprintf(reply, "fraud")},
		{"announce-as-another", "approval", fmt.Sprintf(notice, "announcement", "fraud")},
		{"hello-by-role", "approval", fmt.Sprintf(notice, "hello", "signing")},
		{"policy-by-role", "approval", fmt.Sprintf(notice, "policy", "approval")},
		{"policy-as-operator", "signing", fmt.Sprintf(notice, "policy", "operator")},
		{"announcement-by-signing", "signing", fmt.Sprintf(notice, "announcement", "fraud")},
		{"hello-by-operator", "operator", fmt.Sprintf(notice, "hello", "operator")},
		{"list-by-role", "fraud", fmt.Sprintf(notice, "list", "fraud")},
		{"list-by-signing", "signing", fmt.Sprintf(notice, "list", "signing")},
		{"list-as-another", "operator", fmt.Sprintf(notice, "list", "fraud")},
		{"policy-as-another", "operator", fmt.Sprintf(notice, "policy", "signing")},
		{"record-of-another", "approval", fmt.Sprintf(record, "fraud")},
		{"task-for-itself", "approval", "INSERT INTO countersign.task (consumer, request_id) VALUES ('approval', '" + uuid + "')"},
		{"give-task-away", "approval", "UPDATE countersign.task SET consumer = 'fraud'"},
		{"result-by-role", "fraud", "INSERT INTO countersign.result (request_id, status, body) VALUES ('" + uuid + "', 'signed', '')"},
		{"change-result", "signing", "UPDATE countersign.result SET status = 'signed'"},
		{"change-request", "proposer", "UPDATE countersign.request SET body = 'x'"},
		{"take-task", "proposer", "UPDATE countersign.task SET consumer = 'webhook:a'"},
		{"change-task-of-signing", "proposer", "UPDATE countersign.task SET state = 2 WHERE consumer = 'signing'"},
		{"backdate-request", "proposer", "INSERT INTO countersign.request (submitted_at) VALUES (now())"},
	} {
		t.Run("fail/"+c.name, func(t *testing.T) {
			_, err := d.As(c.service).Exec(c.statement)
			var pqErr *pq.Error
			if !errors.As(err, &pqErr) || pqErr.Code != "42501" { // insufficient_privilege
				t.Errorf("%s: %v, want insufficient privilege", c.service, err)
			}
		})
	}
	for _, c := range []struct {
		service, query string
		want           int64
	}{
		{"fraud", "SELECT FROM countersign.task", 1},
		{"authorization", "SELECT FROM countersign.task", 0},
		{"signing", "SELECT FROM countersign.task", 6},
		{"proposer", "SELECT FROM countersign.task", 6},
		{"proposer", "UPDATE countersign.task SET cancelled = true, version = version + 1", 3}, // signing's and the webhooks'
		{"proposer", "UPDATE countersign.task SET note = 'mine' WHERE consumer <> 'signing'", 2},
		{"proposer", "DELETE FROM countersign.task", 2},
		{"signing", "UPDATE countersign.task SET note = 'mine'", 1},
		{"approval", "DELETE FROM countersign.task", 1},
		{"approval", "SELECT FROM countersign.record", 0},
		{"fraud", "SELECT FROM countersign.record", 1},
		{"approval", "SELECT FROM countersign.notice", 1}, // the list
		{"fraud", "SELECT FROM countersign.notice", 2},
		{"signing", "SELECT FROM countersign.notice", 1}, // the announcement
		{"proposer", "SELECT FROM countersign.notice", 0},
		{"operator", "SELECT FROM countersign.notice", 1}, // the list
		{"signing", "DELETE FROM countersign.notice", 0},  // it has not expired
	} {
		result, err := d.As(c.service).Exec(c.query)
		if err != nil {
			t.Errorf("%s: %s: %v", c.service, c.query, err)
			continue
		}
		if n, _ := result.RowsAffected(); n != c.want {
			t.Errorf("%s: %s: %d rows, want %d", c.service, c.query, n, c.want)
		}
	}
}
