package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Operator is the configuration of the command line where it stores policy
// documents and prepares the database: it serves nothing.
type Operator struct {
	Service `yaml:",inline"`
}

// Validate reports every fault at once.
func (o *Operator) Validate() error {
	var f faults
	o.checkOffline(&f)
	if o.Health != "" {
		f.add("health: the operator's commands serve nothing")
	}
	if o.Sandbox != SandboxDefault {
		f.add("sandbox: the operator's commands have none")
	}
	return f.join()
}

// Role is the configuration of a policy service without an outer face:
// authorization and fraud.
type Role struct {
	Service `yaml:",inline"`
}

// Approval is the configuration of the approval service.
type Approval struct {
	Service `yaml:",inline"`
	// Listen is where approvers' programs reach the service.
	Listen Listener `yaml:"listen"`
	// Authorities are the hosts ("name" or "name:port") under which approvers'
	// programs know the service: a signed call for another one is refused.
	Authorities []string `yaml:"authorities"`
}

// Validate reports every fault at once.
func (a *Approval) Validate() error {
	var f faults
	a.check(&f)
	a.Listen.check(&f, "listen")
	if len(a.Authorities) == 0 {
		f.add("authorities is missing: name the hosts that approvers call")
	}
	return f.join()
}

func (a *Approval) resolve(dir string) {
	a.Service.resolve(dir)
	a.Listen.resolve(dir)
}

// Signing is the configuration of the signing service.
type Signing struct {
	Service `yaml:",inline"`
}

// Proposer is the configuration of the proposer.
type Proposer struct {
	Service `yaml:",inline"`
	// Listen is where users and applications reach the API.
	Listen Listener `yaml:"listen"`
	// Tokens lets users in by access tokens of an issuer whose keys are in a
	// file.
	Tokens *Tokens `yaml:"tokens"`
	// Issuers lets users in by access tokens of issuers that tell their keys
	// themselves (OpenID Connect Discovery). Leave out Tokens and Issuers to let
	// in by client certificate alone.
	Issuers []Issuer `yaml:"issuers"`
	// ClientCA is the path of the PEM certificates that client certificates
	// must chain to; leave it out to let in by token alone.
	ClientCA string `yaml:"client_ca"`
	// Limits bound what one user may cost; leave any of them out to take its
	// default.
	Limits Limits `yaml:"limits"`
	// Webhooks says how the webhooks of the policy document are reached.
	Webhooks Webhooks `yaml:"webhooks"`
}

// Webhooks says how the receivers of outcomes are reached; which these are the
// policy document says.
type Webhooks struct {
	// CA is the path of the PEM certificates that receivers' certificates must
	// chain to; leave it out to take the system's.
	CA string `yaml:"ca"`
	// Proxy is the URL of an HTTP proxy that makes all connections; leave it out to
	// connect directly. The environment names none.
	Proxy string `yaml:"proxy"`
	// AllowNetworks are networks (CIDR) that may be connected to although they are
	// not of the public internet.
	AllowNetworks []string `yaml:"allow_networks"`
	// Ports are those that receivers may listen on; leave it out for 443. The
	// process gives up all others at its start, before it knows any receiver.
	Ports []uint16 `yaml:"ports"`
}

func (w Webhooks) check(f *faults) {
	if u, err := url.Parse(w.Proxy); w.Proxy != "" && (err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil) {
		f.add("webhooks.proxy is not the URL of a proxy: http or https, no user")
	}
	for _, n := range w.AllowNetworks {
		if p, err := netip.ParsePrefix(n); err != nil || p.Masked() != p {
			f.add("webhooks.allow_networks: %q is not a network such as 10.1.0.0/16", n)
		}
	}
	if slices.Contains(w.Ports, 0) {
		f.add("webhooks.ports: 0 is no port")
	}
}

// Limits are those of one instance of the proposer: two instances let a user do
// twice as much.
type Limits struct {
	// Submissions is how fast one user may send statements.
	Submissions Rate `yaml:"submissions"`
	// Reads is how fast one user may ask for anything else.
	Reads Rate `yaml:"reads"`
	// Streams is how many event streams may be open.
	Streams Streams `yaml:"streams"`
}

// Rate is a token bucket. Both values stand together, or none does.
type Rate struct {
	// PerSecond is how many calls a second are answered in the long run.
	PerSecond float64 `yaml:"per_second"`
	// Burst is how many are answered at once.
	Burst int `yaml:"burst"`
}

// Streams bounds open event streams.
type Streams struct {
	// PerUser is how many one user may have.
	PerUser int `yaml:"per_user"`
	// Total is how many all users together may have.
	Total int `yaml:"total"`
}

// maxRate is far above what any instance does.
const maxRate = 1_000_000

func (l *Limits) check(f *faults) {
	l.Submissions.check(f, "limits.submissions")
	l.Reads.check(f, "limits.reads")
	if l.Streams.PerUser < 0 || l.Streams.Total < 0 {
		f.add("limits.streams is negative")
	}
}

func (r *Rate) check(f *faults, name string) {
	// Written so that .nan is refused too.
	if !(r.PerSecond >= 0 && r.PerSecond <= maxRate) || r.Burst < 0 || r.Burst > maxRate {
		f.add("%s is not from 0 to %d", name, maxRate)
	}
	if (r.PerSecond == 0) != (r.Burst == 0) {
		f.add("%s: per_second and burst stand together or not at all", name)
	}
}

// Tokens says which JWTs (RFC 7519) are accepted.
type Tokens struct {
	// JWKS is the path of the issuer's public keys (RFC 7517). When the file
	// changes it is read again.
	JWKS     string `yaml:"jwks"`
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"`
}

// Issuer is an OpenID Connect provider whose JWTs are accepted.
type Issuer struct {
	// Issuer is its https URL, exactly as its tokens and its discovery document
	// name it.
	Issuer string `yaml:"issuer"`
	// Audiences are the names of this API: a token must be for one of them.
	Audiences []string `yaml:"audiences"`
	// CAFile is the path of the PEM certificates that the provider's TLS
	// certificates must chain to; leave it out to trust the system's.
	CAFile string `yaml:"ca_file"`
}

// Validate reports every fault at once.
func (p *Proposer) Validate() error {
	var f faults
	p.check(&f)
	p.Listen.check(&f, "listen")
	if p.Tokens == nil && len(p.Issuers) == 0 && p.ClientCA == "" {
		f.add("neither tokens nor issuers nor client_ca is given: nobody could come in")
	}
	if p.Tokens != nil {
		f.need("tokens.jwks", p.Tokens.JWKS)
		f.need("tokens.issuer", p.Tokens.Issuer)
		f.need("tokens.audience", p.Tokens.Audience)
	}
	p.checkIssuers(&f)
	p.Limits.check(&f)
	p.Webhooks.check(&f)
	return f.join()
}

func (p *Proposer) checkIssuers(f *faults) {
	seen := map[string]bool{}
	if p.Tokens != nil {
		seen[p.Tokens.Issuer] = true
	}
	for i, issuer := range p.Issuers {
		name := fmt.Sprintf("issuers[%d]", i)
		f.need(name+".issuer", issuer.Issuer)
		if issuer.Issuer != "" && !strings.HasPrefix(issuer.Issuer, "https://") {
			f.add("%s.issuer %q is not an https URL", name, issuer.Issuer)
		}
		if seen[issuer.Issuer] {
			f.add("%s.issuer %q stands twice", name, issuer.Issuer)
		}
		seen[issuer.Issuer] = true
		if len(issuer.Audiences) == 0 || slices.Contains(issuer.Audiences, "") {
			f.add("%s.audiences is missing, or one of them is", name)
		}
	}
}

func (p *Proposer) resolve(dir string) {
	p.Service.resolve(dir)
	p.Listen.resolve(dir)
	absolute(dir, &p.ClientCA, &p.Webhooks.CA)
	if p.Tokens != nil {
		absolute(dir, &p.Tokens.JWKS)
	}
	for i := range p.Issuers {
		absolute(dir, &p.Issuers[i].CAFile)
	}
}
