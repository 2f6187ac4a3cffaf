package dev

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// Lifetimes of what a development deployment is made with.
const (
	certificateLife = 365 * 24 * time.Hour
	tokenLife       = 30 * 24 * time.Hour
	// backdate lets a certificate be valid for a peer whose clock is behind.
	backdate = time.Hour
)

// newKeyFile makes an Ed25519 key and writes it as PKCS #8 PEM.
func newKeyFile(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return key, writePrivate(path, key)
}

func writePrivate(path string, key crypto.Signer) error {
	block, err := privateBlock(key)
	if err != nil {
		return err
	}
	return writeFile(path, block)
}

func privateBlock(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func certificateBlock(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// authority is a certificate authority that lives for one preparation only:
// its key is forgotten when the certificates are made.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(name, path string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := newTemplate(name)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making authority %s: %w", name, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{key, certificate}, os.WriteFile(path, certificateBlock(der), 0o644)
}

func newTemplate(name string) *x509.Certificate {
	serial := make([]byte, 16)
	rand.Read(serial) // never returns an error (crypto/rand)
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: name, Organization: []string{"Countersign development"}},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

// issue makes a certificate for a new P-256 key and returns both in PEM and
// the certificate's SHA-256 fingerprint in hex.
func (a *authority) issue(name string, usage x509.ExtKeyUsage) (certificate, key []byte, fingerprint string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, "", err
	}
	template := newTemplate(name)
	template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	if usage == x509.ExtKeyUsageServerAuth {
		template.DNSNames = []string{"localhost"}
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	if err != nil {
		return nil, nil, "", fmt.Errorf("issuing certificate %s: %w", name, err)
	}
	key, err = privateBlock(private)
	sum := sha256.Sum256(der)
	return certificateBlock(der), key, hex.EncodeToString(sum[:]), err
}

// receiver names the certificate that a receiver of webhooks on this machine can
// use.
const receiver = "receiver"

// makeCertificates writes the servers' certificates and the user's client
// certificate (with its key in the same file) and returns the latter's
// fingerprint.
func makeCertificates(l layout) (string, error) {
	servers, err := newAuthority("Countersign development servers", l.tls("ca.pem"))
	if err != nil {
		return "", err
	}
	for _, service := range []string{serviceProposer, serviceApproval, receiver} {
		certificate, key, _, err := servers.issue("localhost", x509.ExtKeyUsageServerAuth)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(l.tls(service+".pem"), certificate, 0o644); err != nil {
			return "", err
		}
		if err := writeFile(l.tls(service+".key"), key); err != nil {
			return "", err
		}
	}
	users, err := newAuthority("Countersign development users", l.tls("users.pem"))
	if err != nil {
		return "", err
	}
	certificate, key, fingerprint, err := users.issue(userID, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return "", err
	}
	return fingerprint, writeFile(l.tls(userID+".pem"), append(certificate, key...))
}
