package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/cloudoptim/cloudoptim/pkg/optest"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
)

// browser is one person's: it keeps cookies, follows no redirect, and says of each call what a browser says of
// calls by pages of the server's own.
type browser struct {
	h       *house
	cookies map[string]string
	headers http.Header
}

func (h *house) browser() *browser {
	return &browser{h: h, cookies: map[string]string{}, headers: http.Header{"Sec-Fetch-Site": {"same-origin"}}}
}

// with says something else of its calls from now on.
func (b *browser) with(header, value string) *browser {
	b.headers.Set(header, value)
	return b
}

func (b *browser) header() http.Header {
	header := b.headers.Clone()
	var pairs []string
	for name, value := range b.cookies {
		pairs = append(pairs, name+"="+value)
	}
	if len(pairs) > 0 {
		header.Set("Cookie", strings.Join(pairs, "; "))
	}
	return header
}

func (b *browser) call(t *testing.T, method, path, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.h.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = b.header()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if method != http.MethodOptions {
		b.h.wantAudited(t, req, resp)
	}
	for _, cookie := range resp.Cookies() {
		b.cookies[cookie.Name] = cookie.Value
		if cookie.MaxAge < 0 {
			delete(b.cookies, cookie.Name)
		}
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (b *browser) must(t *testing.T, status int, method, path, body string) any {
	t.Helper()
	got := b.call(t, method, path, body)
	if got.status != status {
		t.Fatalf("%s %s: %d, want %d: %s", method, path, got.status, status, got.text)
	}
	return parse(t, got.text)
}

// signIn signs in with a key.
func (b *browser) signIn(t *testing.T, key string) *browser {
	t.Helper()
	b.must(t, 201, "POST", "/api/v1/admin/session", fmt.Sprintf(`{"api_key": %q}`, key))
	return b
}

func (b *browser) me(t *testing.T) map[string]any {
	t.Helper()
	return b.must(t, 200, "GET", "/api/v1/admin/me", "").(map[string]any)["me"].(map[string]any)
}

func (b *browser) stream(t *testing.T) (*websocket.Conn, error) {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), b.h.url+"/api/v1/admin/stream", &websocket.DialOptions{HTTPHeader: b.header()})
	if err == nil {
		t.Cleanup(func() { _ = ws.CloseNow() })
	}
	return ws, err
}

// acts are the audit log's entries of an action, as actor and subject.
func (h *house) acts(t *testing.T, action string) (all []string) {
	t.Helper()
	rows, err := h.db.Pool.Query(t.Context(), "SELECT actor || ' ' || subject || ' ' || detail::text FROM audit_log WHERE action = $1 ORDER BY audit_id", action)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var act string
		if err := rows.Scan(&act); err != nil {
			t.Fatal(err)
		}
		all = append(all, act)
	}
	return all
}

func TestASessionReadsTheSavingsAsATable(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	const path = "/api/v1/admin/savings/history.csv"
	if got := h.browser().call(t, "GET", path, ""); got.status != 401 {
		t.Errorf("without a session: %d %s", got.status, got.text)
	}
	got := h.browser().signIn(t, h.admin).call(t, "GET", path, "")
	if got.status != 200 || !strings.HasPrefix(got.text, "row,cluster_id,") {
		t.Errorf("with one: %d %s", got.status, got.text)
	}
}

func TestASessionIsACookieAndEndsWhenToldTo(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	options := h.must(t, 200, "GET", "/api/v1/admin/sign-in", "", "").(map[string]any)
	if options["api_key"] != true || options["oidc"] != false {
		t.Errorf("sign-in by %v", options)
	}
	b := h.browser()
	got := b.call(t, "POST", "/api/v1/admin/session", fmt.Sprintf(`{"api_key": %q}`, h.admin))
	if got.status != 201 {
		t.Fatalf("%d: %s", got.status, got.text)
	}
	cookie, secret := got.header.Get("Set-Cookie"), b.cookies["cloudoptim"]
	for _, part := range []string{"cloudoptim=co_session_", "Path=/", "HttpOnly", "SameSite=Strict", "Expires="} {
		if !strings.Contains(cookie, part) {
			t.Errorf("the cookie has no %s: %s", part, cookie)
		}
	}
	if strings.Contains(cookie, "Secure") || strings.Contains(got.text, secret) || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the answer: %v %s", got.header, got.text)
	}
	if problem := differ("answer", map[string]any{"expires_at": "<time>", "me": map[string]any{
		"role": "admin", "customer_id": h.customer, "customer_name": "Example Inc.", "signed_in_with": "api_key", "name": "first key", "may_call": "<list>",
	}}, parse(t, got.text)); problem != "" {
		t.Error(problem)
	}
	me := b.me(t)
	may := fmt.Sprint(me["may_call"])
	if me["actor"] != "key:"+h.admin[:len("co_admin_")+4] || !strings.Contains(may, "AccountService/CreateMember") || strings.Contains(may, "CreateCustomer") {
		t.Errorf("me: %v", me)
	}
	b.must(t, 201, "POST", "/api/v1/admin/members", `{"email": "Bob@example.com", "role": "viewer"}`)
	ws, err := b.stream(t)
	if err != nil {
		t.Fatal(err)
	}
	until(t, ws, "type", "heartbeat")
	stolen := b.cookies["cloudoptim"]
	b.must(t, 200, "DELETE", "/api/v1/admin/session", "")
	if len(b.cookies) != 0 {
		t.Errorf("cookies after signing out: %v", b.cookies)
	}
	until(t, ws, "type", "bye")
	b.cookies["cloudoptim"] = stolen
	requireError(t, b.call(t, "GET", "/api/v1/admin/me", ""), 401, "UNAUTHENTICATED")
	if created, ended := h.acts(t, "session.create"), h.acts(t, "session.end"); len(created) != 1 || len(ended) != 1 || !strings.Contains(created[0], "127.0.0.1") {
		t.Errorf("audited: %v, %v", created, ended)
	}
	if strings.Contains(h.log.String(), secret) || strings.Contains(h.log.String(), h.admin) {
		t.Error("a secret is in the log")
	}
}

func TestSigningInAgainEndsTheSessionBefore(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	_, viewer := h.newKey(t, "viewer")
	b, other := h.browser().signIn(t, h.admin), h.browser().signIn(t, h.admin)
	ws, err := b.stream(t)
	if err != nil {
		t.Fatal(err)
	}
	until(t, ws, "type", "heartbeat")
	requireError(t, b.call(t, "POST", "/api/v1/admin/session", `{"api_key": "co_admin_there-is-none"}`), 401, "UNAUTHENTICATED")
	if role := b.me(t)["role"]; role != "admin" {
		t.Errorf("a wrong key made of an admin a %v", role)
	}

	first := h.browser()
	first.cookies["cloudoptim"] = b.cookies["cloudoptim"]
	for i, key := range []string{viewer, h.platform, h.admin} { // the staff's is of no customer
		left := h.browser()
		left.cookies["cloudoptim"] = b.cookies["cloudoptim"]
		b.signIn(t, key)
		requireError(t, left.call(t, "GET", "/api/v1/admin/me", ""), 401, "UNAUTHENTICATED")
		if ended := h.acts(t, "session.end"); len(ended) != i+1 || !strings.Contains(ended[i], "signed in again") {
			t.Errorf("audited: %v", ended)
		}
	}
	if last := until(t, ws, "type", "bye"); last["message"] != "signed_out" {
		t.Errorf("the stream of the session before ended with %v", last)
	}
	other.me(t) // of the same key, in another browser
	b.me(t)
	// What has ended is not ended again.
	first.signIn(t, viewer).me(t)
	if ended := h.acts(t, "session.end"); len(ended) != 3 {
		t.Errorf("audited: %v", ended)
	}
}

func TestASessionEndsWithItsKeyAndItsCustomer(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	id, viewer := h.newKey(t, "viewer")
	b, boss := h.browser().signIn(t, viewer), h.browser().signIn(t, h.admin)
	ws, err := b.stream(t)
	if err != nil {
		t.Fatal(err)
	}
	until(t, ws, "type", "heartbeat")
	requireError(t, b.call(t, "POST", "/api/v1/admin/members", `{"email": "eve@example.com", "role": "admin"}`), 403, "PERMISSION_DENIED")
	boss.must(t, 200, "DELETE", "/api/v1/admin/api-keys/"+id, "")
	requireError(t, b.call(t, "GET", "/api/v1/admin/me", ""), 401, "UNAUTHENTICATED")
	if last := until(t, ws, "type", "bye"); last["message"] != "signed_out" {
		t.Errorf("the stream ended with %v", last)
	}

	agents := h.stream(t, "/api/v1/client/stream?cluster_id="+h.cluster, h.agent)
	ws, err = boss.stream(t)
	if err != nil {
		t.Fatal(err)
	}
	until(t, ws, "type", "heartbeat")
	customer := h.must(t, 200, "GET", "/api/v1/admin/customers", h.admin, "").([]any)[0].(map[string]any)
	body := `{"company_name": "Example Inc.", "email": "ops@example.com", "status": %q, "etag": %q}`
	requireError(t, boss.call(t, "PUT", "/api/v1/admin/customers/"+h.customer, fmt.Sprintf(body, "trial", customer["etag"])), 403, "PERMISSION_DENIED")
	h.must(t, 200, "PUT", "/api/v1/admin/customers/"+h.customer, h.platform, fmt.Sprintf(body, "suspended", customer["etag"]))
	requireError(t, boss.call(t, "GET", "/api/v1/admin/me", ""), 403, "PERMISSION_DENIED")
	requireError(t, h.call(t, "GET", "/api/v1/admin/clusters", h.admin, ""), 403, "PERMISSION_DENIED")
	if last := until(t, ws, "type", "bye"); last["message"] != "signed_out" {
		t.Errorf("the dashboard's stream ended with %v", last)
	}
	if last := until(t, agents, "error", "")["error"].(map[string]any); last["code"] != "PERMISSION_DENIED" {
		t.Errorf("the agent's stream ended with %v", last)
	}
	requireError(t, h.call(t, "PUT", "/api/v1/admin/customers/"+h.customer, h.platform, fmt.Sprintf(body, "active", customer["etag"])), 409, "CONFLICT")
	h.must(t, 200, "PUT", "/api/v1/admin/customers/"+h.customer, h.platform, fmt.Sprintf(body, "active", ""))
	boss.me(t)
}

func TestOtherSitesCannotUseASession(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	member := `{"email": "eve@example.com", "role": "admin"}`
	signIn := fmt.Sprintf(`{"api_key": %q}`, h.admin)
	cases := map[string]struct {
		header, value string
		ok            bool
	}{
		"a page of ours":               {"Sec-Fetch-Site", "same-origin", true},
		"another site":                 {"Sec-Fetch-Site", "cross-site", false},
		"another host of the domain":   {"Sec-Fetch-Site", "same-site", false},
		"an old browser, ours":         {"Origin", h.url, true},
		"an old browser, theirs":       {"Origin", "https://evil.example.com", false},
		"an old browser, from nowhere": {"Origin", "null", false},
	}
	for name, c := range cases {
		b := h.browser().signIn(t, h.admin)
		b.headers.Del("Sec-Fetch-Site")
		b.with(c.header, c.value)
		var got []int
		for _, act := range []struct{ method, path, body string }{
			{"POST", "/api/v1/admin/members", member}, {"DELETE", "/api/v1/admin/session", ""}, {"POST", "/api/v1/admin/session", signIn},
		} {
			got = append(got, b.call(t, act.method, act.path, act.body).status)
		}
		if want := []int{201, 200, 201}; c.ok && !slices.Equal(got, want) && got[0] != 409 || !c.ok && !slices.Equal(got, []int{403, 403, 403}) {
			t.Errorf("%s: %v", name, got)
		}
	}
	// A bearer is nothing that a browser adds by itself: programs of any origin may use theirs.
	req, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/api/v1/admin/members", strings.NewReader(`{"email": "f@example.com", "role": "viewer"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + h.admin}, "Sec-Fetch-Site": {"cross-site"}, "Cookie": {"cloudoptim=co_session_x"}}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 201 {
		t.Errorf("a bearer from elsewhere: %d", resp.StatusCode)
	}
	b := h.browser().signIn(t, h.admin).with("Origin", "https://evil.example.com")
	if _, err := b.stream(t); err == nil {
		t.Error("a page of another site opened a stream")
	}
	b.with("Origin", h.url)
	if _, err := b.stream(t); err != nil {
		t.Errorf("a page of ours did not: %v", err)
	}
}

func TestWrongKeysAreAuditedWithoutThemAndMustWait(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	wrong, _, _ := auth.NewSecret("admin")
	b := h.browser()
	try := func(key string) answer {
		return b.call(t, "POST", "/api/v1/admin/session", fmt.Sprintf(`{"api_key": %q}`, key))
	}
	requireError(t, try(wrong), 401, "UNAUTHENTICATED")
	requireError(t, try(h.agent), 403, "PERMISSION_DENIED")
	session := h.browser().signIn(t, h.admin).cookies["cloudoptim"]
	requireError(t, try(session), 401, "UNAUTHENTICATED")
	for range auth.FailuresPerMinute - 3 {
		requireError(t, try(wrong), 401, "UNAUTHENTICATED")
	}
	late := try(wrong)
	requireError(t, late, 429, "RATE_LIMITED")
	if late.header.Get("Retry-After") == "" {
		t.Error("it does not say when to come again")
	}
	b.signIn(t, h.admin) // a neighbour's mistakes keep nobody out
	acts := h.acts(t, "session.refuse")
	if len(acts) != auth.FailuresPerMinute {
		t.Errorf("%d refusals in the log, want %d", len(acts), auth.FailuresPerMinute)
	}
	for _, act := range acts {
		if !strings.HasPrefix(act, "address:127.0.0.1 127.0.0.1 ") || strings.Contains(act, wrong[:20]) {
			t.Errorf("audited: %s", act)
		}
	}
	if strings.Contains(h.log.String(), wrong) {
		t.Error("a wrong key is in the log: it may be right elsewhere")
	}
}

func TestWithoutACredentialAnAddressIsLimited(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited, func(cfg *settings) { cfg.Central.TrustedProxies = 1 })
	from := func(address string) int {
		return h.browser().with("X-Forwarded-For", "10.0.0.1, "+address).call(t, "GET", "/api/v1/admin/sign-in", "").status
	}
	limited := false
	for range auth.AnyonePerMinute + 20 {
		limited = limited || from("192.0.2.1") == 429
	}
	if !limited || from("192.0.2.2") != 200 {
		t.Errorf("limited: %v, and another: %d", limited, from("192.0.2.2"))
	}
}

func TestBehindTLSCookiesAreForThisHostAlone(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited, func(cfg *settings) { cfg.Central.TrustedProxies = 1 })
	b := h.browser().with("X-Forwarded-Proto", "https")
	got := b.call(t, "POST", "/api/v1/admin/session", fmt.Sprintf(`{"api_key": %q}`, h.admin))
	if cookie := got.header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-cloudoptim=") || !strings.Contains(cookie, "; Secure") || strings.Contains(cookie, "Domain") {
		t.Errorf("the cookie: %s", cookie)
	}
	if got.header.Get("Strict-Transport-Security") == "" {
		t.Error("the browser is not told to stay with TLS")
	}
	b.me(t)
	b.with("X-Forwarded-Proto", "http") // a cookie that somebody planted over plain http is none
	requireError(t, b.call(t, "GET", "/api/v1/admin/me", ""), 401, "UNAUTHENTICATED")

	plain := open(t, (&ml{}).serve(t), unlimited)
	liar := plain.browser().with("X-Forwarded-Proto", "https")
	if got := liar.call(t, "POST", "/api/v1/admin/session", fmt.Sprintf(`{"api_key": %q}`, plain.admin)); strings.Contains(got.header.Get("Set-Cookie"), "Secure") {
		t.Error("without proxies, a header was believed")
	}
}

func TestOtherOriginsMayCallWithABearerOnlyIfConfigured(t *testing.T) {
	ask := func(h *house, origin string) http.Header {
		b := h.browser().with("Origin", origin).with("Access-Control-Request-Method", "GET").with("Access-Control-Request-Headers", "authorization")
		return b.call(t, "OPTIONS", "/api/v1/admin/clusters", "").header
	}
	const friend = "https://tools.example.com"
	if got := ask(open(t, (&ml{}).serve(t), unlimited), friend); got.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("by default: %v", got)
	}
	h := open(t, (&ml{}).serve(t), unlimited, func(cfg *settings) { cfg.API.CORSOrigins = []string{friend} })
	got := ask(h, friend)
	if got.Get("Access-Control-Allow-Origin") != friend || got.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("a friend: %v", got)
	}
	if got := ask(h, "https://evil.example.com"); got.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another: %v", got)
	}
}

// onOIDC is a house whose people sign in at a provider.
func onOIDC(t *testing.T) (*house, *optest.OP) {
	t.Helper()
	op := optest.New(t, "http://central.example.com/auth/oidc/callback")
	h := open(t, (&ml{}).serve(t), unlimited, func(cfg *settings) {
		cfg.OIDC.Issuer, cfg.OIDC.ClientID, cfg.OIDC.ClientSecret = op.URL, optest.Client, optest.Secret
		cfg.OIDC.Name, cfg.OIDC.PublicURL = "Example ID", "http://central.example.com/"
	})
	return h, op
}

// through signs in at the provider and returns where the browser is sent in the end, and the callback's query.
func (b *browser) through(t *testing.T, op *optest.OP) (to string, back url.Values) {
	t.Helper()
	begun := b.call(t, "GET", "/auth/oidc/login?return_to=/clusters", "")
	if begun.status != http.StatusSeeOther {
		t.Fatalf("login: %d %s", begun.status, begun.text)
	}
	if cookie := begun.header.Get("Set-Cookie"); !strings.Contains(cookie, "SameSite=Lax") || !strings.Contains(cookie, "HttpOnly") {
		t.Errorf("the cookie for the way: %s", cookie)
	}
	back = op.Consent(t, begun.header.Get("Location"))
	return b.back(t, back), back
}

func (b *browser) back(t *testing.T, answer url.Values) string {
	t.Helper()
	ended := b.with("Sec-Fetch-Site", "cross-site").call(t, "GET", "/auth/oidc/callback?"+answer.Encode(), "")
	b.with("Sec-Fetch-Site", "same-origin")
	if ended.status != http.StatusSeeOther || ended.header.Get("Referrer-Policy") != "no-referrer" {
		t.Fatalf("callback: %d %s", ended.status, ended.text)
	}
	return ended.header.Get("Location")
}

func TestAMemberSignsInAtTheProvider(t *testing.T) {
	h, op := onOIDC(t)
	options := h.must(t, 200, "GET", "/api/v1/admin/sign-in", "", "").(map[string]any)
	if options["oidc"] != true || options["oidc_name"] != "Example ID" || options["oidc_url"] != "/auth/oidc/login" {
		t.Errorf("sign-in by %v", options)
	}
	b := h.browser()
	to, _ := b.through(t, op)
	if !strings.HasPrefix(to, "/sign-in?error=not_a_member&request_id=req-") || b.cookies["cloudoptim"] != "" {
		t.Errorf("somebody unknown was sent to %s with %v", to, b.cookies)
	}
	member := h.must(t, 201, "POST", "/api/v1/admin/members", h.admin, `{"email": "ann@example.com", "role": "viewer"}`).(map[string]any)
	to, back := b.through(t, op)
	if to != "/clusters" {
		t.Fatalf("sent to %s", to)
	}
	me := b.me(t)
	if me["actor"] != "member:ann@example.com" || me["role"] != "viewer" || me["signed_in_with"] != "oidc" || me["customer_id"] != h.customer {
		t.Errorf("me: %v", me)
	}
	// The same answer again, by whoever saw it, opens nothing.
	for _, who := range []*browser{b, h.browser()} {
		before := who.cookies["cloudoptim"]
		if to := who.back(t, back); !strings.HasPrefix(to, "/sign-in?error=expired&") || who.cookies["cloudoptim"] != before {
			t.Errorf("played again: %s", to)
		}
	}
	// A role acts at once, in both directions.
	path := "/api/v1/admin/members/" + member["member_id"].(string)
	create := func() int { return b.call(t, "POST", "/api/v1/admin/api-keys", `{"scope": "viewer"}`).status }
	if got := create(); got != 403 {
		t.Errorf("a viewer made a key: %d", got)
	}
	changed := h.must(t, 200, "PUT", path, h.admin, fmt.Sprintf(`{"role": "admin", "etag": %q}`, member["etag"])).(map[string]any)
	if got := create(); got != 201 || changed["role"] != "admin" {
		t.Errorf("an admin made no key: %d", got)
	}
	requireError(t, h.call(t, "PUT", path, h.admin, fmt.Sprintf(`{"role": "viewer", "etag": %q}`, member["etag"])), 409, "CONFLICT")
	h.must(t, 200, "PUT", path, h.admin, `{"role": "operator"}`)
	if got := create(); got != 403 {
		t.Errorf("an operator made a key: %d", got)
	}
	ws, err := b.stream(t)
	if err != nil {
		t.Fatal(err)
	}
	until(t, ws, "type", "heartbeat")
	for range 2 {
		h.must(t, 200, "DELETE", path, h.admin, "")
	}
	requireError(t, b.call(t, "GET", "/api/v1/admin/me", ""), 401, "UNAUTHENTICATED")
	until(t, ws, "type", "bye")
	if to, _ := b.through(t, op); !strings.HasPrefix(to, "/sign-in?error=not_a_member&") {
		t.Errorf("who was shut out was sent to %s", to)
	}
	requireError(t, h.call(t, "PUT", path, h.admin, `{"role": "admin"}`), 404, "NOT_FOUND")
	if acts := fmt.Sprint(h.acts(t, "member.create"), h.acts(t, "member.update"), h.acts(t, "member.delete")); strings.Count(acts, "ann@example.com") != 4 {
		t.Errorf("audited: %s", acts)
	}
}

func TestSigningInAgainAtTheProviderEndsTheSessionBefore(t *testing.T) {
	h, op := onOIDC(t)
	h.must(t, 201, "POST", "/api/v1/admin/members", h.admin, `{"email": "ann@example.com", "role": "viewer"}`)
	b, left := h.browser().signIn(t, h.admin), h.browser()
	left.cookies["cloudoptim"] = b.cookies["cloudoptim"]
	begun := b.call(t, "GET", "/auth/oidc/login", "")
	for name, value := range b.cookies {
		if name != "cloudoptim" && strings.Contains(value, left.cookies["cloudoptim"]) {
			t.Errorf("the session's secret is in the cookie %s", name)
		}
	}
	delete(b.cookies, "cloudoptim") // a strict cookie does not come along from the provider's site
	back := op.Consent(t, begun.header.Get("Location"))
	left.me(t)
	if to := b.back(t, back); to != "/" {
		t.Fatalf("sent to %s", to)
	}
	requireError(t, left.call(t, "GET", "/api/v1/admin/me", ""), 401, "UNAUTHENTICATED")
	if me := b.me(t); me["actor"] != "member:ann@example.com" || len(b.cookies) != 1 {
		t.Errorf("me: %v with %v", me, b.cookies)
	}
	if ended := h.acts(t, "session.end"); len(ended) != 1 || !strings.HasPrefix(ended[0], "key:co_admin_") {
		t.Errorf("audited: %v", ended)
	}
}

func TestWhatGoesWrongAtTheProviderIsToldInAWordAndLoggedWhole(t *testing.T) {
	h, op := onOIDC(t)
	h.must(t, 201, "POST", "/api/v1/admin/members", h.admin, `{"email": "ann@example.com", "role": "viewer"}`)
	cases := map[string]struct {
		claims func(map[string]any)
		answer func(url.Values)
		want   string
	}{
		"another sign-in's token": {claims: func(c map[string]any) { c["nonce"] = "x" }, want: "failed"},
		"another audience":        {claims: func(c map[string]any) { c["aud"] = "x" }, want: "failed"},
		"an expired token":        {claims: func(c map[string]any) { c["exp"] = 1 }, want: "failed"},
		"an unverified e-mail":    {claims: func(c map[string]any) { c["email_verified"] = false }, want: "email_not_verified"},
		"a made-up state":         {answer: func(v url.Values) { v.Set("state", "x") }, want: "expired"},
		"a no":                    {answer: func(v url.Values) { v.Set("error", "access_denied") }, want: "declined"},
	}
	for name, c := range cases {
		op.Says(c.claims)
		b := h.browser()
		back := op.Consent(t, b.call(t, "GET", "/auth/oidc/login", "").header.Get("Location"))
		if c.answer != nil {
			c.answer(back)
		}
		to := b.back(t, back)
		at, err := url.Parse(to)
		if err != nil || at.Path != "/sign-in" || at.Query().Get("error") != c.want || len(b.cookies) != 0 {
			t.Errorf("%s: sent to %s with %v", name, to, b.cookies)
		}
		if !strings.Contains(h.log.String(), at.Query().Get("request_id")) {
			t.Errorf("%s: the log does not tell of %s", name, to)
		}
		if strings.Contains(h.log.String(), back.Get("code")) {
			t.Errorf("%s: the code is in the log", name)
		}
	}
}

func TestCentralStartsAndWorksWhileTheProviderIsAway(t *testing.T) {
	op := optest.New(t, "")
	op.Away(true)
	h := open(t, (&ml{}).serve(t), unlimited, func(cfg *settings) {
		cfg.OIDC.Issuer, cfg.OIDC.ClientID, cfg.OIDC.PublicURL = op.URL, optest.Client, "http://central.example.com"
	})
	got := h.browser().call(t, "GET", "/auth/oidc/login", "")
	if !strings.HasPrefix(got.header.Get("Location"), "/sign-in?error=unavailable&") {
		t.Errorf("sent to %s", got.header.Get("Location"))
	}
	h.browser().signIn(t, h.admin).me(t)
}

func TestListsOfPeopleComeByPage(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	for i := range 5 {
		h.must(t, 201, "POST", "/api/v1/admin/members", h.admin, fmt.Sprintf(`{"email": "p%d@example.com", "role": "viewer"}`, i))
		h.must(t, 201, "POST", "/api/v1/admin/api-keys", h.admin, `{"scope": "viewer"}`)
		h.newCustomer(t, fmt.Sprintf("Customer %d", i), fmt.Sprintf("c%d@example.org", i))
	}
	requireError(t, h.call(t, "POST", "/api/v1/admin/members", h.admin, `{"email": "P1@example.com", "role": "viewer"}`), 409, "CONFLICT")
	for path, c := range map[string]struct {
		key, field, want string
	}{
		"/api/v1/admin/members?page_size=2":                    {h.admin, "email", "p0@example.com p1@example.com p2@example.com p3@example.com p4@example.com"},
		"/api/v1/admin/api-keys?page_size=2&scope=viewer":      {h.admin, "scope", "viewer viewer viewer viewer viewer"},
		"/api/v1/admin/customers?page_size=2&search=omer":      {h.platform, "company_name", "Customer 0 Customer 1 Customer 2 Customer 3 Customer 4"},
		"/api/v1/admin/customers?page_size=2&search=EXAMPLE.C": {h.platform, "company_name", "Example Inc."},
		"/api/v1/admin/customers?page_size=2":                  {h.admin, "company_name", "Example Inc."},
	} {
		var all []string
		seen := map[string]bool{}
		for token, more := "", true; more; more = token != "" {
			got := h.call(t, "GET", path+"&page_token="+url.QueryEscape(token), c.key, "")
			if got.status != 200 {
				t.Fatalf("%s: %s", path, got.text)
			}
			for _, one := range parse(t, got.text).([]any) {
				record := one.(map[string]any)
				all = append(all, record[c.field].(string))
				for _, id := range []string{"member_id", "api_key_id", "customer_id"} {
					if value, ok := record[id].(string); ok {
						if seen[value] && (id != "customer_id" || c.field == "company_name") {
							t.Errorf("%s: %s twice", path, value)
						}
						seen[value] = true
						break
					}
				}
			}
			token = got.header.Get("Next-Page-Token")
		}
		if got := strings.Join(all, " "); got != c.want {
			t.Errorf("%s: %s", path, got)
		}
	}
	requireError(t, h.call(t, "GET", "/api/v1/admin/members?page_token=x", h.admin, ""), 422, "INVALID_REQUEST")
}
