package oidc

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"testing"
	"time"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/optest"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	client   = optest.Client
	callback = "https://central.example.com/auth/oidc/callback"
)

// detours remembers sign-ins in memory; that the database does it the same way, central's own tests show.
type detours struct {
	mu  sync.Mutex
	all map[string]store.Detour
}

func (d *detours) BeginDetour(_ context.Context, one store.Detour) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all[string(one.State)+string(one.Browser)] = one
	return nil
}

func (d *detours) EndDetour(_ context.Context, state, browser []byte) (*store.Detour, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	one, ok := d.all[string(state)+string(browser)]
	if !ok {
		return nil, fault.NotFound("sign-in", "")
	}
	delete(d.all, string(state)+string(browser))
	return &one, nil
}

func provider(o *optest.OP) (*Provider, *detours) {
	remember := &detours{all: map[string]store.Detour{}}
	return New(Config{
		Issuer: o.URL, ClientID: client, ClientSecret: optest.Secret, RedirectURL: callback, Store: remember,
	}), remember
}

func TestOnlyAGoodAnswerTellsAnEmail(t *testing.T) {
	stranger := optest.NewKey(t)
	soon := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	cases := map[string]struct {
		claims func(map[string]any)
		// answer and browser change what comes back.
		answer func(url.Values)
		other  bool // another browser
		forged bool
		want   error // nil: any
		ok     bool
	}{
		"a good one":                         {ok: true},
		"expired half a minute ago":          {claims: func(c map[string]any) { c["exp"] = soon(-30 * time.Second) }, ok: true},
		"expired":                            {claims: func(c map[string]any) { c["exp"] = soon(-90 * time.Second) }},
		"made in half a minute":              {claims: func(c map[string]any) { c["iat"] = soon(30 * time.Second) }, ok: true},
		"made in the future":                 {claims: func(c map[string]any) { c["iat"] = soon(2 * time.Minute) }},
		"of another audience":                {claims: func(c map[string]any) { c["aud"] = "another" }},
		"for us among others":                {claims: func(c map[string]any) { c["aud"], c["azp"] = []string{"another", client}, client }, ok: true},
		"for others, we among them":          {claims: func(c map[string]any) { c["aud"], c["azp"] = []string{"another", client}, "another" }},
		"for several, nobody says for whom":  {claims: func(c map[string]any) { c["aud"] = []string{"another", client} }},
		"of another issuer":                  {claims: func(c map[string]any) { c["iss"] = "https://elsewhere.example.com" }},
		"of another sign-in":                 {claims: func(c map[string]any) { c["nonce"] = "made up" }},
		"of no sign-in":                      {claims: func(c map[string]any) { delete(c, "nonce") }},
		"with an e-mail nobody verified":     {claims: func(c map[string]any) { c["email_verified"] = false }, want: ErrUnverified},
		"that says nothing about the e-mail": {claims: func(c map[string]any) { delete(c, "email_verified") }, want: ErrUnverified},
		"without an e-mail":                  {claims: func(c map[string]any) { delete(c, "email") }, want: ErrUnverified},
		"signed by a stranger":               {forged: true},
		"with a state that nobody gave out":  {answer: func(v url.Values) { v.Set("state", random()) }, want: ErrExpired},
		"without a state":                    {answer: func(v url.Values) { v.Del("state") }, want: ErrExpired},
		"in another browser":                 {other: true, want: ErrExpired},
		"with a code that nobody gave out":   {answer: func(v url.Values) { v.Set("code", random()) }},
		"that says no":                       {answer: func(v url.Values) { v.Del("code"); v.Set("error", "access_denied") }, want: ErrDeclined},
		"that says no to what nobody asked":  {answer: func(v url.Values) { v.Set("state", "x"); v.Set("error", "access_denied") }, want: ErrExpired},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := optest.New(t, callback)
			o.Says(c.claims)
			if c.forged {
				o.SignsWith(stranger)
			}
			p, _ := provider(o)
			to, browser, err := p.Begin(t.Context(), "/clusters?x=1")
			if err != nil {
				t.Fatal(err)
			}
			back := o.Consent(t, to)
			if c.answer != nil {
				c.answer(back)
			}
			if c.other {
				browser = random()
			}
			email, returnTo, err := p.Finish(t.Context(), back, browser)
			switch {
			case c.ok && (err != nil || email != "Ann@Example.com" || returnTo != "/clusters?x=1"):
				t.Errorf("got %q, %q, %v", email, returnTo, err)
			case !c.ok && (err == nil || email != ""):
				t.Errorf("it was taken: %q, %v", email, err)
			case c.want != nil && !errors.Is(err, c.want):
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestAnAnswerCountsOnceAndInTime(t *testing.T) {
	o := optest.New(t, callback)
	p, remember := provider(o)
	to, browser, err := p.Begin(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	back := o.Consent(t, to)
	if _, _, err := p.Finish(t.Context(), back, browser); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Finish(t.Context(), back, browser); !errors.Is(err, ErrExpired) {
		t.Errorf("played again: %v", err)
	}
	if to, browser, err = p.Begin(t.Context(), "/"); err != nil {
		t.Fatal(err)
	}
	for place, one := range remember.all {
		one.Ends = time.Now()
		remember.all[place] = one
	}
	if _, _, err := p.Finish(t.Context(), o.Consent(t, to), browser); !errors.Is(err, ErrExpired) {
		t.Errorf("too late: %v", err)
	}
}

func TestAProviderThatIsAwayIsAskedAgainAfterAPauseThatGrows(t *testing.T) {
	o := optest.New(t, callback)
	o.Away(true)
	p, _ := provider(o)
	for range 50 {
		if _, _, err := p.Begin(t.Context(), "/"); fault.ReasonOf(err) != faultv1.Reason_REASON_UNAVAILABLE {
			t.Fatalf("got %v", err)
		}
	}
	if o.Asked() != 1 {
		t.Errorf("asked %d times, want once", o.Asked())
	}
	var pauses []time.Duration
	for range 8 {
		pauses = append(pauses, p.pause)
		p.notBefore = time.Time{}
		_, _, _ = p.Begin(t.Context(), "/")
	}
	if pauses[0] != firstPause || pauses[1] != 2*firstPause || pauses[7] != longestPause {
		t.Errorf("pauses of %v", pauses)
	}
	o.Away(false)
	p.notBefore = time.Time{}
	for range 5 {
		if _, _, err := p.Begin(t.Context(), "/"); err != nil {
			t.Fatal(err)
		}
	}
	if o.Asked() != 10 {
		t.Errorf("asked %d times, want 10: once it answered, no more", o.Asked())
	}
}

func TestOnlyAPathOfThisServerIsReturnedTo(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "/clusters/1?tab=nodes#top": "/clusters/1?tab=nodes#top", "": "/", "clusters": "/", "//evil.example.com": "/",
		"///evil.example.com": "/", `/\evil.example.com`: "/", "https://evil.example.com/": "/", "javascript:alert(1)": "/",
		"/\t/evil.example.com": "/", "/a\r\nSet-Cookie: x": "/", "/%zz": "/", "/a//b": "/a//b",
	} {
		if got := LocalPath(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}
