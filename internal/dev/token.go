package dev

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// The development token issuer and the audience of its tokens.
const (
	tokenIssuer   = "https://issuer.development.invalid"
	tokenAudience = "countersign"
	tokenKeyID    = "development"
)

// issueToken makes a token issuer for one run: it writes the issuer's key set
// and returns an access token for the user. The issuer's private key is
// forgotten.
func issueToken(jwksPath string, now time.Time) (string, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{
		Key: public, KeyID: tokenKeyID, Algorithm: string(jose.EdDSA), Use: "sig",
	}}}
	b, err := json.Marshal(set)
	if err != nil {
		return "", fmt.Errorf("encoding key set: %w", err)
	}
	if err := writeFile(jwksPath, b); err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.EdDSA, Key: private},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", tokenKeyID),
	)
	if err != nil {
		return "", fmt.Errorf("making token: %w", err)
	}
	return jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: tokenIssuer, Subject: userID, Audience: jwt.Audience{tokenAudience},
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now),
		Expiry: jwt.NewNumericDate(now.Add(tokenLife)),
	}).Serialize()
}
