package main

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/message"
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
		return advise(fmt.Errorf("profile %s: %w", path, err), "write it as JSON; DIR/dev.json of countersign dev is an example")
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
			return nil, p, advise(fmt.Errorf("client certificate: %w", err), "give a PEM file with your certificate and its key: --cert FILE")
		}
		cfg.Certificate = &certificate
	}
	c, err := client.New(cfg)
	return c, p, adviseURL(err, "--proposer")
}

func adviseURL(err error, flag string) error {
	return advise(err, "write the address as https://HOST:PORT: %s URL", flag)
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
	_, doc, err := parsePolicy(path)
	if err != nil {
		return nil, err
	}
	keys := doc.Services[message.RoleSigning]
	if len(keys) == 0 {
		return nil, advise(fmt.Errorf("policy document %s names no identity key of the signing service", path), "give the document in force: --policy FILE")
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
	return c, who, adviseURL(err, "--console")
}

// roots is nil, the system's certificates, where no file is named.
func roots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nil is the system's pool
	}
	pool, err := config.CertPool(path)
	return pool, advise(err, "give a PEM file with the certificates that the server's certificate chains to: --ca FILE")
}

func deploymentID(text string) (message.Hash, error) {
	const next = "give --deployment ID; countersign genesis show FILE tells it"
	if text == "" {
		return message.Hash{}, advise(errors.New("no deployment id is given"), next)
	}
	id, err := message.ParseHash(text)
	if err != nil {
		return id, advise(fmt.Errorf("deployment id: %w", err), next)
	}
	return id, nil
}
