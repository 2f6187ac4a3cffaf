package main

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// profileVariable names the environment variable that gives the profile.
const profileVariable = "COUNTERSIGN_PROFILE"

// profile says how to reach a deployment; DIR/dev.json of a development
// deployment is one. Members that are not listed here are passed over.
// Relative paths count from the profile's folder.
type profile struct {
	Proposer    string `json:"proposer"`
	Console     string `json:"console"`
	CA          string `json:"ca"`
	Deployment  string `json:"deployment"`
	UserKey     string `json:"user_key"`
	UserCert    string `json:"user_cert"`
	Token       string `json:"token"`
	ApproverKey string `json:"approver_key"`
	User        string `json:"user"`
	// Policy is the policy document, whose identity keys of the signing service
	// every result is verified under.
	Policy string `json:"policy"`
}

// profileFlags override a profile's members.
type profileFlags struct {
	file       string
	proposer   string
	console    string
	ca         string
	deployment string
	key        string
	cert       string
	tokenFile  string
	policy     string
}

func (a *app) commonFlags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&a.profile.file, "profile", "", "profile file, such as DIR/dev.json (default: $"+profileVariable+")")
	f.StringVar(&a.profile.ca, "ca", "", "PEM certificates that the server's certificate chains to")
	f.StringVar(&a.profile.deployment, "deployment", "", "deployment id")
	f.StringVar(&a.profile.key, "key", "", "file of your private key")
}

// userFlags adds the flags of commands that call the proposer.
func (a *app) userFlags(c *cobra.Command) *cobra.Command {
	a.commonFlags(c)
	f := c.PersistentFlags()
	f.StringVar(&a.profile.proposer, "proposer", "", "URL of the proposer")
	f.StringVar(&a.profile.cert, "cert", "", "PEM file with your client certificate and its key")
	f.StringVar(&a.profile.tokenFile, "token-file", "", "file with your access token")
	f.StringVar(&a.profile.policy, "policy", "", "policy document: results must be signed by the signing service that it names")
	return c
}

// approverFlags adds the flags of commands that call the approval service.
func (a *app) approverFlags(c *cobra.Command) *cobra.Command {
	a.commonFlags(c)
	c.PersistentFlags().StringVar(&a.profile.console, "console", "", "URL of the approval service")
	return c
}

// load reads the profile and puts the flags over it.
func (f profileFlags) load() (profile, error) {
	var p profile
	path := f.file
	if path == "" {
		path = os.Getenv(profileVariable)
	}
	if path != "" {
		if err := p.read(path); err != nil {
			return p, err
		}
	}
	override := func(member *string, flag string) {
		if flag != "" {
			*member = flag
		}
	}
	override(&p.Proposer, f.proposer)
	override(&p.Console, f.console)
	override(&p.CA, f.ca)
	override(&p.Deployment, f.deployment)
	override(&p.UserKey, f.key)
	override(&p.ApproverKey, f.key)
	override(&p.UserCert, f.cert)
	override(&p.Policy, f.policy)
	if f.tokenFile != "" {
		token, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return p, fmt.Errorf("reading access token: %w", err)
		}
		p.Token = strings.TrimSpace(string(token))
	}
	return p, nil
}

// read takes the profile only if nobody else may read it: it can hold a token.
func (p *profile) read(path string) error {
	if err := config.CheckPrivate(path); err != nil {
		if errors.Is(err, config.ErrPermissions) {
			return advise(fmt.Errorf("profile: %w", err), "run: chmod 600 %s", path)
		}
		return advise(fmt.Errorf("reading profile %s: %w", path, errors.Unwrap(err)),
			"is the deployment running? start one with: countersign dev --dir DIR")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading profile: %w", err)
	}
	if err := json.Unmarshal(b, p); err != nil {
		return fmt.Errorf("profile %s: %w", path, err)
	}
	dir := filepath.Dir(path)
	for _, file := range []*string{&p.CA, &p.UserKey, &p.UserCert, &p.ApproverKey, &p.Policy} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(dir, *file)
		}
	}
	return nil
}

// connect returns a client of the proposer; one that only reads needs no key.
func (a *app) connect(signing bool) (*client.Client, profile, error) {
	p, err := a.profile.load()
	if err != nil {
		return nil, p, err
	}
	cfg, err := clientConfig(p)
	if err != nil {
		return nil, p, err
	}
	cfg.Token = p.Token
	if signing {
		var key crypto.Signer
		if key, err = readKey(p.UserKey); err != nil {
			return nil, p, err
		}
		cfg.Key = key
	}
	// A token is enough; the certificate is for those who have none.
	if p.Token == "" && p.UserCert != "" {
		certificate, err := tls.LoadX509KeyPair(p.UserCert, p.UserCert)
		if err != nil {
			return nil, p, fmt.Errorf("client certificate: %w", err)
		}
		cfg.Certificate = &certificate
	}
	c, err := client.New(cfg)
	return c, p, err
}

// clientConfig says where the proposer is, and what is believed of it.
func clientConfig(p profile) (cfg client.Config, err error) {
	if p.Proposer == "" {
		return cfg, advise(errors.New("no deployment is named"),
			"set %s=DIR/dev.json, or give --proposer URL --ca FILE --deployment ID", profileVariable)
	}
	cfg.BaseURL = p.Proposer
	if cfg.Roots, err = roots(p.CA); err != nil {
		return cfg, err
	}
	if cfg.Deployment, err = deploymentID(p.Deployment); err != nil {
		return cfg, err
	}
	cfg.ResultKeys, err = resultKeys(p.Policy)
	return cfg, err
}

// resultKeys are the signing service's identity keys in the policy document;
// none where no document is named: results are then shown as the proposer gives
// them.
func resultKeys(path string) ([]message.JWK, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading policy document: %w", err)
	}
	doc, err := document.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("policy document %s: %w", path, err)
	}
	keys := doc.Services[message.RoleSigning]
	if len(keys) == 0 {
		return nil, fmt.Errorf("policy document %s names no identity key of the signing service", path)
	}
	return keys, nil
}

// connectApprover returns a client of the approval service.
func (a *app) connectApprover() (*client.Approver, approverIdentity, error) {
	var who approverIdentity
	p, err := a.profile.load()
	if err != nil {
		return nil, who, err
	}
	if p.Console == "" {
		return nil, who, advise(errors.New("no approval service is named"),
			"set %s=DIR/dev.json, or give --console URL --ca FILE --deployment ID", profileVariable)
	}
	if who.deployment, err = deploymentID(p.Deployment); err != nil {
		return nil, who, err
	}
	if who.key, err = readEd25519(p.ApproverKey); err != nil {
		return nil, who, err
	}
	pool, err := roots(p.CA)
	if err != nil {
		return nil, who, err
	}
	c, err := client.NewApprover(client.ApproverConfig{BaseURL: p.Console, Roots: pool, Key: who.key})
	return c, who, err
}

// roots is nil, the system's certificates, where no file is named.
func roots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nil is the system's pool
	}
	return config.CertPool(path)
}

func deploymentID(text string) (message.Hash, error) {
	if text == "" {
		return message.Hash{}, advise(errors.New("no deployment id is given"),
			"give --deployment ID; countersign genesis show FILE tells it")
	}
	id, err := message.ParseHash(text)
	if err != nil {
		return id, fmt.Errorf("deployment id: %w", err)
	}
	return id, nil
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
	var network *net.OpError
	var stranger *tls.CertificateVerificationError
	switch {
	case errors.As(err, &stranger):
		return "check --ca: the server's certificate does not chain to it, or is for another name"
	case errors.As(err, &network):
		return "is the deployment running? check its address, or start one with: countersign dev --dir DIR"
	}
	return ""
}

// problemSteps says what to do about the services' problems, by code.
var problemSteps = map[string]string{
	"unauthenticated":         "check the access token or client certificate: it may have expired, or the policy does not name it",
	"not_found":               "list what there is: countersign request list, or: countersign wallet list",
	"id_conflict":             "make a new request: every statement has an id of its own",
	"wrong_audience":          "check --deployment: the statement is for another deployment",
	"expiry_out_of_range":     "choose another --expires: at most seven days",
	"content_digest_mismatch": "something between you and the service changes what is sent",
	"invalid_statement":       "check the ids and values that you gave",
	"unavailable":             "try again in a moment; nothing was lost",
	"not_ready":               "try again in a moment: the service is starting, or no policy is active yet",
	"internal":                "look into the service's log",
	"not_an_approver":         "the policy lets other people vote on this",
	"self_approval":           "another approver must agree: the policy forbids agreeing to your own request",
	"request_ended":           "nothing more can be decided; see what became of it: countersign request show ID",
	"already_rejected":        "a rejection is final; a new request is needed",
	"no_vote_needed":          "nothing: it goes on without people",
	"not_decidable":           "nothing: the approval service will reject it",
	"vote_for_other_policy":   "the policy has changed: look at the request again and vote again",
	"vote_not_of_this_time":   "check this machine's clock; the request may have ended",
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
