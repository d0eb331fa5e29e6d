// Package oidc finds out from an OpenID provider whose browser this is: a verified e-mail, or an error.
package oidc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// Detour is how long a person may take at the provider.
	Detour = 10 * time.Minute
	// skew is how far the provider's clock may be off.
	skew = time.Minute
	// askWithin bounds one question to the provider.
	askWithin = 10 * time.Second
	// firstPause and longestPause bound how long a provider that was away is left alone.
	firstPause, longestPause = time.Second, time.Minute
)

// Store remembers sign-ins that are at the provider: on any replica, each once.
type Store interface {
	BeginDetour(ctx context.Context, d store.Detour) error
	EndDetour(ctx context.Context, state, browser []byte) (*store.Detour, error)
}

// Config says which provider, and who we are to it.
type Config struct {
	Issuer, ClientID, ClientSecret string
	// RedirectURL is where the provider sends people back to, as it was registered there.
	RedirectURL string
	// Scopes beside openid; empty: email.
	Scopes []string
	Store  Store
	// Client asks the provider; nil: an ordinary one.
	Client *http.Client
}

// Provider is an OpenID provider. It is found when it is first needed, so that central starts without it.
type Provider struct {
	Config

	mu    sync.Mutex
	found *found
	// notBefore is when one that was away is asked again, after a pause that doubles.
	notBefore time.Time
	pause     time.Duration
}

// found is what the provider said of itself.
type found struct {
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
}

// New makes a provider without asking it.
func New(cfg Config) *Provider {
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: askWithin}
	}
	if len(cfg.Scopes) == 0 {
		cfg.Scopes = []string{"email"}
	}
	return &Provider{Config: cfg}
}

// What may go wrong on the way that is nobody's bug.
var (
	// ErrDeclined: the person, or the provider, said no.
	ErrDeclined = errors.New("signing in: the provider declined")
	// ErrExpired: the sign-in never began in this browser, took too long, or came back before.
	ErrExpired = errors.New("signing in: the sign-in is not under way any more")
	// ErrUnverified: the provider does not vouch for the e-mail.
	ErrUnverified = errors.New("signing in: the e-mail is not verified")
)

// Begin starts a sign-in: the address at the provider to send the browser to, and the secret that the browser
// keeps meanwhile.
func (p *Provider) Begin(ctx context.Context, returnTo string) (to, browser string, err error) {
	at, err := p.find(ctx)
	if err != nil {
		return "", "", err
	}
	state, nonce, browser, verifier := random(), random(), random(), oauth2.GenerateVerifier()
	err = p.Store.BeginDetour(ctx, store.Detour{
		State: hash(state), Browser: hash(browser), Nonce: nonce, Verifier: verifier, ReturnTo: returnTo, Ends: time.Now().Add(Detour),
	})
	if err != nil {
		return "", "", err
	}
	return at.oauth.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), browser, nil
}

// Finish ends a sign-in that came back to the browser that keeps the secret: the e-mail that the provider
// vouches for, and where to go on.
func (p *Provider) Finish(ctx context.Context, answer url.Values, browser string) (email, returnTo string, err error) {
	began, err := p.Store.EndDetour(ctx, hash(answer.Get("state")), hash(browser))
	switch {
	case fault.ReasonOf(err) == faultv1.Reason_REASON_NOT_FOUND:
		return "", "", ErrExpired
	case err != nil:
		return "", "", err
	case !time.Now().Before(began.Ends):
		return "", "", ErrExpired
	case answer.Get("error") != "":
		return "", "", fmt.Errorf("%w: %s", ErrDeclined, answer.Get("error"))
	}
	at, err := p.find(ctx)
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.Client), askWithin)
	defer cancel()
	tokens, err := at.oauth.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(began.Verifier))
	if err != nil {
		return "", "", fmt.Errorf("exchanging the code: %w", err)
	}
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return "", "", errors.New("exchanging the code: the answer has no id_token")
	}
	email, err = p.read(ctx, at, raw, began.Nonce)
	return email, began.ReturnTo, err
}

// read verifies an ID token: signature, issuer, audience and times are the library's, the rest is here.
func (p *Provider) read(ctx context.Context, at *found, raw, nonce string) (string, error) {
	token, err := at.verifier.Verify(ctx, raw)
	if err != nil {
		return "", fmt.Errorf("verifying the ID token: %w", err)
	}
	var claims struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
		Party    string `json:"azp"`
	}
	if err := token.Claims(&claims); err != nil {
		return "", fmt.Errorf("reading the ID token: %w", err)
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(nonce)) != 1:
		return "", errors.New("verifying the ID token: it was made for another sign-in")
	case claims.Party != "" && claims.Party != p.ClientID, len(token.Audience) > 1 && claims.Party == "":
		return "", errors.New("verifying the ID token: it was made for another party")
	case token.IssuedAt.After(time.Now().Add(skew)):
		return "", errors.New("verifying the ID token: it is of the future")
	case claims.Email == "" || !claims.Verified:
		return "", ErrUnverified
	}
	return claims.Email, nil
}

// find asks the provider about itself, once. One that does not answer is left alone for a while: those who
// want to sign in meanwhile are told at once.
func (p *Provider) find(ctx context.Context) (*found, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	if time.Now().Before(p.notBefore) {
		return nil, fault.Unavailable("the OpenID provider", nil)
	}
	// That a browser goes away says nothing about the provider.
	provider, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.Client), p.Issuer)
	if err != nil {
		p.pause = min(max(2*p.pause, firstPause), longestPause)
		p.notBefore = time.Now().Add(p.pause)
		return nil, fault.Unavailable("the OpenID provider", err)
	}
	p.found = &found{
		oauth: oauth2.Config{
			ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: provider.Endpoint(), RedirectURL: p.RedirectURL,
			Scopes: slices.Concat([]string{oidc.ScopeOpenID}, p.Scopes),
		},
		verifier: provider.Verifier(&oidc.Config{ClientID: p.ClientID, Now: func() time.Time { return time.Now().Add(-skew) }}),
	}
	return p.found, nil
}

// LocalPath is a path of this server to go to after a sign-in: path if it is one, else "/". What a browser could
// take for another host is none.
func LocalPath(path string) string {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "\\\r\n\t\x00") || len(path) > 2048 {
		return "/"
	}
	to, err := url.Parse(path)
	if err != nil || to.IsAbs() || to.Host != "" || to.User != nil || strings.HasPrefix(to.Path, "//") || strings.HasPrefix(path, "//") {
		return "/"
	}
	return path
}

func random() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: the runtime ends the program instead
	return base64.RawURLEncoding.EncodeToString(raw)
}

func hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
