package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// ErrPermissions says that others than the owner may read a private key.
var ErrPermissions = errors.New("private key is readable by others: chmod 600 it")

// Load reads the listener's certificate and private key.
func (l Listener) Load() (tls.Certificate, error) {
	if err := CheckPrivate(l.Key); err != nil {
		return tls.Certificate{}, err
	}
	certificate, err := tls.LoadX509KeyPair(l.Certificate, l.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("loading certificate %s: %w", l.Certificate, err)
	}
	return certificate, nil
}

// CheckPrivate refuses a file that others than its owner may read.
func CheckPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("reading private file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %v: %w", path, mode, ErrPermissions)
	}
	return nil
}

// CertPool reads PEM certificates; a file without any is an error.
func CertPool(path string) (*x509.CertPool, error) {
	b, err := readLimited(path)
	if err != nil {
		return nil, fmt.Errorf("reading certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}
