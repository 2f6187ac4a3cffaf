package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/lib/pq" // the driver of the superuser's connection
	"github.com/tyler-smith/go-bip32"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
)

// leak knows every secret of a development deployment, worked out anew from
// its two secrets and its rows by what docs/SPEC.md says, and looks for them
// where they must not be.
type leak struct {
	*testing.T
	dir     string
	profile struct {
		Proposer   string       `json:"proposer"`
		Approval   string       `json:"console"`
		CA         string       `json:"ca"`
		Deployment message.Hash `json:"deployment"`
		Token      string       `json:"token"`
		Database   string       `json:"database"`
	}
	roles   []string
	secrets map[string]string // text as it could be written -> whose it is
}

// attackSecretLeftInResponses asks the running services everything that can be
// asked, with and without a right to, and reads their logs and all rows: no
// branch, key, share, seed or account key is in any of it, in hexadecimal or
// base64, and no extended key (BIP-32 xprv or xpub), from which every account
// of a wallet could be told.
func attackSecretLeftInResponses(t *testing.T, dir string) {
	l := &leak{T: t, dir: dir, secrets: map[string]string{}}
	l.read("dev.json", &l.profile)
	var genesis message.Genesis
	l.read("genesis.json", &genesis)
	l.roles = genesis.Roles
	db, err := sql.Open("postgres", l.profile.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l.learnBranches()
	if n := l.learnRecords(db); n < 2 {
		t.Fatalf("%d sealed records: the test has nothing to look for", n)
	}
	l.searchResponses()
	searchLogs(l.T, l.search, l.dir)
	l.searchRows(db)
}

func (l *leak) read(name string, into any) {
	l.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, name))
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		l.Fatal(err)
	}
}

func (l *leak) learn(whose string, secret []byte) {
	l.secrets[hex.EncodeToString(secret)] = whose
	l.secrets[strings.ToUpper(hex.EncodeToString(secret))] = whose
	// All but the last group, so that padding and what follows do not matter.
	whole := len(secret) / 3 * 3
	l.secrets[base64.StdEncoding.EncodeToString(secret[:whole])] = whose
	l.secrets[base64.RawURLEncoding.EncodeToString(secret[:whole])] = whose
}

func (l *leak) keyring(service string) *secrets.Keyring {
	l.Helper()
	var pair secrets.Pair
	for half, into := range map[string]*secrets.BranchFile{"build": &pair.Build, "deploy": &pair.Deploy} {
		f, err := secrets.ReadBranchFile(filepath.Join(l.dir, "secrets", service+"."+half+".json"))
		if err != nil {
			l.Fatal(err)
		}
		*into = f
	}
	k, err := secrets.NewKeyring(l.profile.Deployment, service, l.roles, pair)
	if err != nil {
		l.Fatal(err)
	}
	return k
}

func (l *leak) learnBranches() {
	for _, service := range secrets.Services(l.roles) {
		k := l.keyring(service)
		purposes, err := secrets.Purposes(service, l.roles)
		if err != nil {
			l.Fatal(err)
		}
		for _, p := range purposes {
			key, err := k.Key(p, k.Generation())
			if err != nil {
				l.Fatal(err)
			}
			l.learn(service+"'s key "+string(p), key.Bytes())
		}
	}
}

// learnRecords opens every seed and account key, and returns how many.
func (l *leak) learnRecords(db *sql.DB) (n int) {
	for table, scope := range map[string]message.Scope{"wallet": message.ScopeSeed, "account": message.ScopeAccount} {
		rows, err := db.Query("SELECT id, descriptor, ciphertext FROM countersign." + table)
		if err != nil {
			l.Fatal(err)
		}
		defer rows.Close()
		for ; rows.Next(); n++ {
			var id string
			var descriptor, ciphertext []byte
			if err := rows.Scan(&id, &descriptor, &ciphertext); err != nil {
				l.Fatal(err)
			}
			key := l.open(scope, id, descriptor, ciphertext)
			l.learn("the key of "+table+" "+id, key)
			if scope == message.ScopeSeed {
				l.learnExtended(id, key)
			}
		}
		if err := rows.Err(); err != nil {
			l.Fatal(err)
		}
	}
	return n
}

// open derives all shares and opens a record.
func (l *leak) open(scope message.Scope, id string, descriptor, ciphertext []byte) []byte {
	share := func(service string, purpose secrets.Purpose) []byte {
		k := l.keyring(service)
		key, err := k.Key(purpose, k.Generation())
		if err != nil {
			l.Fatal(err)
		}
		s, err := secrets.NewShare(key, scope, id)
		if err != nil {
			l.Fatal(err)
		}
		l.learn(service+"'s share of "+string(scope)+" "+id, s.Bytes())
		return s.Bytes()
	}
	input := share(message.RoleSigning, secrets.PurposeWallet)
	info := [][]byte{[]byte(scope), []byte(id), message.Uint64(1)}
	for _, role := range l.roles {
		input = append(bytes.Clone(input), share(role, secrets.Share(role))...)
		info = append(info, []byte(role))
	}
	key, err := secrets.Derive(secrets.NewSecret(input), l.profile.Deployment[:], message.Context(message.LabelSealing, info...))
	if err != nil {
		l.Fatal(err)
	}
	l.learn("the sealing key of "+string(scope)+" "+id, key.Bytes())
	block, err := aes.NewCipher(key.Bytes())
	if err != nil {
		l.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		l.Fatal(err)
	}
	b, err := gcm.Open(nil, ciphertext[:gcm.NonceSize()], ciphertext[gcm.NonceSize():], descriptor)
	if err != nil {
		l.Fatalf("opening %s %s: %v", scope, id, err)
	}
	return b
}

// learnExtended learns the extended keys of the usual Ethereum path, level by
// level from the master key down.
func (l *leak) learnExtended(wallet string, seed []byte) {
	key, err := bip32.NewMasterKey(seed)
	for _, level := range []uint32{44, 60, 0} {
		if err != nil {
			l.Fatal(err)
		}
		l.secrets[key.B58Serialize()] = "an xprv of wallet " + wallet
		l.secrets[key.PublicKey().B58Serialize()] = "an xpub of wallet " + wallet
		l.learn("a chain code of wallet "+wallet, key.ChainCode)
		key, err = key.NewChildKey(bip32.FirstHardenedChild + level)
	}
	if err != nil {
		l.Fatal(err)
	}
}

func (l *leak) search(where string, b []byte) {
	l.Helper()
	for text, whose := range l.secrets {
		if bytes.Contains(b, []byte(text)) {
			l.Errorf("%s is in %s", whose, where)
		}
	}
	for _, prefix := range []string{"xprv", "xpub"} {
		if bytes.Contains(b, []byte(prefix+"661MyMw")) { // how every master key begins
			l.Errorf("an %s is in %s", prefix, where)
		}
	}
}

// searchResponses asks for every path of the OpenAPI document with every id
// that a list gives, for paths that are not there, and for nonsense.
func (l *leak) searchResponses() {
	var document struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	body := l.get(l.profile.Proposer, "/openapi.json")
	if err := json.Unmarshal(body, &document); err != nil {
		l.Fatal(err)
	}
	ids := append(l.ids("/v1/requests?limit=100"), l.ids("/v1/wallets?limit=100")...)
	ids = append(ids, "019a0000-0000-7000-8000-000000000000", "%00", "..")
	asked := 0
	for path := range document.Paths {
		if !strings.Contains(path, "{id}") {
			l.search("the answer to GET "+path, l.get(l.profile.Proposer, path))
			asked++
			continue
		}
		for _, id := range ids {
			l.search("the answer to GET "+path, l.get(l.profile.Proposer, strings.ReplaceAll(path, "{id}", id)))
			asked++
		}
	}
	for _, id := range ids {
		l.search("an answer of the approval service", l.get(l.profile.Approval, "/v1/approvals/"+id))
	}
	for _, body := range []string{"", "{", `{"kind":"wallet.create"}`, strings.Repeat("[", 1000)} {
		l.search("the answer to a bad request", l.call(http.MethodPost, l.profile.Proposer+"/v1/requests", body))
	}
	if asked < 10 {
		l.Errorf("only %d answers were looked at", asked)
	}
}

// ids returns every id that a list shows.
func (l *leak) ids(path string) (out []string) {
	type item struct {
		ID string `json:"id"`
	}
	var list struct{ Requests, Wallets []item }
	b := l.get(l.profile.Proposer, path)
	l.search("the answer to GET "+path, b)
	if err := json.Unmarshal(b, &list); err != nil {
		l.Fatalf("%v in %s", err, b)
	}
	for _, item := range append(list.Requests, list.Wallets...) {
		out = append(out, item.ID)
	}
	if len(out) == 0 {
		l.Errorf("%s lists nothing", path)
	}
	return out
}

func (l *leak) get(service, path string) []byte { return l.call(http.MethodGet, service+path, "") }

// client is one that trusts the deployment's authority.
func (l *leak) client() *http.Client {
	l.Helper()
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(l.profile.CA)
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		l.Fatalf("reading the CA: %v", err)
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, DisableKeepAlives: true,
	}}
}

// call returns the body that comes back; the header it searches itself.
func (l *leak) call(method, url, body string) []byte {
	l.Helper()
	r, err := http.NewRequestWithContext(l.Context(), method, url, strings.NewReader(body))
	if err != nil {
		l.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+l.profile.Token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := l.client().Do(r)
	if err != nil {
		l.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		l.Fatal(err)
	}
	var head bytes.Buffer
	if err := answer.Header.Write(&head); err != nil {
		l.Fatal(err)
	}
	l.search("the header of the answer to "+url, head.Bytes())
	return b
}

// searchLogs has all that the services of a deployment have logged searched.
func searchLogs(t *testing.T, search func(where string, b []byte), dir string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "logs", "*.log"))
	if err != nil || len(logs) < 5 {
		t.Fatalf("%d logs, %v", len(logs), err)
	}
	for _, name := range logs {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		search(name, b)
	}
}

// searchRows reads every row of every table as text, as a backup would show it.
func (l *leak) searchRows(db *sql.DB) {
	tables, err := db.Query("SELECT relname FROM pg_class WHERE relnamespace = 'countersign'::regnamespace AND relkind = 'r'")
	if err != nil {
		l.Fatal(err)
	}
	defer tables.Close()
	for tables.Next() {
		var table string
		var rows []byte
		if err := tables.Scan(&table); err != nil {
			l.Fatal(err)
		}
		if err := db.QueryRow("SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM countersign." + table + " t").Scan(&rows); err != nil {
			l.Fatal(err)
		}
		l.search("table "+table, rows)
		l.search("table "+table+", decoded", decodeHex(rows))
	}
	if err := tables.Err(); err != nil {
		l.Fatal(err)
	}
}

// decodeHex turns what PostgreSQL writes of a bytea (\\x and hexadecimal
// digits) into its bytes, so that text inside is found too.
func decodeHex(rows []byte) (out []byte) {
	for _, part := range bytes.Split(rows, []byte(`\\x`)) {
		end := bytes.IndexFunc(part, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
		if end < 0 {
			end = len(part)
		}
		b, _ := hex.DecodeString(string(part[:end/2*2]))
		out = append(append(out, b...), '\n')
	}
	return out
}
