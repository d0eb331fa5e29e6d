package market

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the goroutine be that starts processes such as moto: it stays for the next.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/cloudoptim/cloudoptim/pkg/proc.fork"))
}

// fakeAWS answers EC2's, the price list's and the Spot Advisor's calls with what the
// embedded snapshot has, but for what a test changes.
type fakeAWS struct {
	facts *Snapshot

	mu sync.Mutex
	// spot price of m5.large in us-east-1a; "": all are as embedded.
	spot string
	// share of each listing that is given.
	share float64
	// factor on every price, and on the types' memory.
	prices, memory float64
	// broken by Action or path, and region; "*" is all.
	broken map[string]bool
	// advisor's file, etag and how often it was sent whole.
	advisor, etag string
	sent          int
	// hang until the caller goes.
	hang string
}

func (f *fakeAWS) set(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fakeAWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	// The SDK takes a request back when its answer begins. One that begins while the
	// request is still being sent ends the connection, which only loopback is quick enough for.
	time.Sleep(10 * time.Millisecond)
	form, _ := url.ParseQuery(string(body))
	action := form.Get("Action")
	switch {
	case r.URL.Path == "/advisor.json":
		action = "advisor"
	case r.Header.Get("X-Amz-Target") == "AWSPriceListService.GetProducts":
		action = "GetProducts"
	}
	region := regionOf(r, body)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hang == action {
		f.mu.Unlock()
		<-r.Context().Done()
		f.mu.Lock()
		return
	}
	if f.broken["*"] || f.broken[action] || f.broken[region] {
		http.Error(w, "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors></Response>", http.StatusForbidden)
		return
	}
	switch action {
	case "advisor":
		f.answerAdvisor(w, r)
	case "GetProducts":
		f.answerPrices(w, region)
	case "DescribeSpotPriceHistory":
		f.answerSpot(w, region)
	case "DescribeInstanceTypes":
		f.answerTypes(w, region)
	default:
		http.Error(w, "unexpected "+r.URL.Path+" "+action, http.StatusBadRequest)
	}
}

// regionOf a request: from its signature, or of the price list from its filter.
func regionOf(r *http.Request, body []byte) string {
	var filters struct {
		Filters []struct{ Field, Value string }
	}
	if json.Unmarshal(body, &filters) == nil {
		for _, filter := range filters.Filters {
			if filter.Field == "regionCode" {
				return filter.Value
			}
		}
	}
	if parts := strings.Split(r.Header.Get("Authorization"), "/"); len(parts) > 2 {
		return parts[2]
	}
	return ""
}

func (f *fakeAWS) answerAdvisor(w http.ResponseWriter, r *http.Request) {
	if f.etag != "" {
		w.Header().Set("ETag", f.etag)
		if r.Header.Get("If-None-Match") == f.etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	f.sent++
	_, _ = io.WriteString(w, f.advisor)
}

func (f *fakeAWS) some(all []string) []string { return all[:int(float64(len(all))*f.share)] }

func (f *fakeAWS) answerPrices(w http.ResponseWriter, region string) {
	var list []string
	for _, name := range f.some(f.facts.Types(region)) {
		entry, _ := json.Marshal(map[string]any{
			"product": map[string]any{"attributes": map[string]any{"instanceType": name}},
			"terms": map[string]any{"OnDemand": map[string]any{"t": map[string]any{"priceDimensions": map[string]any{
				"d": map[string]any{"unit": "Hrs", "pricePerUnit": map[string]any{"USD": fmt.Sprint(f.facts.OnDemand(region, name) * f.prices)}},
			}}}},
		})
		list = append(list, string(entry))
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(map[string]any{"PriceList": list})
}

func (f *fakeAWS) answerSpot(w io.Writer, region string) {
	_, _ = io.WriteString(w, `<DescribeSpotPriceHistoryResponse><spotPriceHistorySet>`)
	for _, name := range f.some(f.facts.Types(region)) {
		for _, zone := range f.facts.Zones(region) {
			price := fmt.Sprint(f.facts.Spot(region, name, zone) * f.prices)
			if name == "m5.large" && zone == "us-east-1a" && f.spot != "" {
				price = f.spot
			}
			if price != "0" {
				_, _ = fmt.Fprintf(w, `<item><instanceType>%s</instanceType><productDescription>Linux/UNIX</productDescription><spotPrice>%s</spotPrice>`+
					`<availabilityZone>%s</availabilityZone><timestamp>2026-11-01T00:00:00Z</timestamp></item>`, name, price, zone)
			}
		}
	}
	_, _ = io.WriteString(w, `</spotPriceHistorySet></DescribeSpotPriceHistoryResponse>`)
}

func (f *fakeAWS) answerTypes(w io.Writer, region string) {
	_, _ = io.WriteString(w, `<DescribeInstanceTypesResponse><instanceTypeSet>`)
	for _, name := range f.some(f.facts.Types(region)) {
		t, _ := f.facts.Type(name)
		arch := map[string]string{"amd64": "x86_64", "arm64": "arm64"}[t.Architecture]
		writeType(w, name, arch, t.VCPU, int64(float64(t.MemoryMiB)*f.memory))
	}
	writeType(w, "m99.large", "arm64", 2, 16384)
	_, _ = io.WriteString(w, `</instanceTypeSet></DescribeInstanceTypesResponse>`)
}

func writeType(w io.Writer, name, arch string, vcpu int, mib int64) {
	_, _ = fmt.Fprintf(w, `<item><instanceType>%s</instanceType><currentGeneration>true</currentGeneration><vCpuInfo><defaultVCpus>%d</defaultVCpus></vCpuInfo>`+
		`<memoryInfo><sizeInMiB>%d</sizeInMiB></memoryInfo><networkInfo><maximumNetworkInterfaces>3</maximumNetworkInterfaces>`+
		`<ipv4AddressesPerInterface>10</ipv4AddressesPerInterface></networkInfo><processorInfo><supportedArchitectures><item>%s</item></supportedArchitectures></processorInfo></item>`,
		name, vcpu, mib, arch)
}

// advisorFile of the embedded buckets, but for one.
func advisorFile(s *Snapshot, m5 int) string {
	type entry struct {
		Savings int `json:"s"`
		Bucket  int `json:"r"`
	}
	file := map[string]map[string]map[string]entry{}
	for region, r := range s.regions {
		byType := map[string]entry{}
		for name, bucket := range r.bucket {
			byType[name] = entry{60, bucket}
		}
		if region == "us-east-1" {
			byType["m5.large"] = entry{60, m5}
		}
		file[region] = map[string]map[string]entry{"Linux": byType, "Windows": {"m5.large": {10, 4}}}
	}
	text, _ := json.Marshal(map[string]any{"spot_advisor": file})
	return string(text)
}

func startAWS(t *testing.T) (*fakeAWS, *Refresher) {
	t.Helper()
	m, err := New()
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeAWS{facts: m.Snapshot(), spot: "0.0400", share: 1, prices: 1, memory: 1, broken: map[string]bool{}}
	f.advisor = advisorFile(f.facts, 1)
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_MAX_ATTEMPTS", "2")
	quiet := slog.New(slog.NewTextHandler(t.Output(), nil))
	return f, &Refresher{
		Market: m, Regions: []string{"us-east-1"}, AdvisorURL: srv.URL + "/advisor.json", Account: &Account{Endpoint: srv.URL, Log: quiet},
		Every: time.Hour, HTTP: srv.Client(), Log: quiet,
	}
}

// once refreshes the sources one time; none named: every one.
func once(t *testing.T, r *Refresher, names ...string) {
	t.Helper()
	for _, u := range r.units() {
		if len(names) == 0 || slices.Contains(names, u.name) {
			r.announce(u)
			_ = r.once(t.Context(), u)
		}
	}
}

func sourceOf(t *testing.T, m *Market, name string) Source {
	t.Helper()
	for _, s := range m.Snapshot().Sources() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no source %s", name)
	return Source{}
}

var everySource = []string{InstanceTypes, OnDemandPrices, SpotPrices, SpotAdvisor}

func TestARefreshReplacesWhatAWSAnswers(t *testing.T) {
	_, r := startAWS(t)
	before := r.Market.Snapshot()
	once(t, r)
	now := r.Market.Snapshot()
	if got := now.Spot("us-east-1", "m5.large", "us-east-1a"); got != 0.04 {
		t.Errorf("spot price %v, want 0.04", got)
	}
	if kind, ok := now.Type("m99.large"); !ok || kind.VCPU != 2 || kind.Architecture != "arm64" || kind.MaxPods != 29 || kind.Category != "General purpose" {
		t.Errorf("new type %+v", kind)
	}
	i := slices.IndexFunc(now.Offers("us-east-1", []string{"us-east-1a"}), func(o Offer) bool { return o.Type.Name == "m5.large" })
	if o := now.Offers("us-east-1", []string{"us-east-1a"})[i]; o.Bucket != 1 || o.OnDemand != 0.096 {
		t.Errorf("offer %+v, want bucket 1 at 0.096", o)
	}
	for _, name := range everySource {
		if s := sourceOf(t, r.Market, name); s.Origin != AWS || s.Err != "" || time.Since(s.AsOf) > time.Minute {
			t.Errorf("source %+v, want fresh from AWS", s)
		}
	}
	if _, _, origin := now.AsOf("us-east-1"); origin != AWS {
		t.Errorf("origin of us-east-1 is %s", origin)
	}
	if _, _, origin := now.AsOf("eu-west-1"); origin != Embedded {
		t.Errorf("origin of eu-west-1, which was not asked for, is %s", origin)
	}
	if before.Spot("us-east-1", "m5.large", "us-east-1a") == 0.04 {
		t.Error("the snapshot in use was changed")
	}
	if stale := now.Stale("us-east-1", time.Now()); len(stale) > 0 {
		t.Errorf("stale in us-east-1: %v", stale)
	}
	// The advisor's file and the types are of all regions.
	if stale := now.Stale("eu-west-1", time.Now()); !slices.Contains(stale, SpotPrices) || slices.Contains(stale, SpotAdvisor) {
		t.Errorf("stale in eu-west-1: %v, want spot_prices, not spot_advisor", stale)
	}
}

func TestAFailedRefreshKeepsTheOldDataAndSaysSo(t *testing.T) {
	f, r := startAWS(t)
	once(t, r)
	f.set(func() { f.broken["*"] = true })
	once(t, r)
	if got := r.Market.Snapshot().Spot("us-east-1", "m5.large", "us-east-1a"); got != 0.04 {
		t.Errorf("spot price %v, want still 0.04", got)
	}
	for _, name := range everySource {
		if s := sourceOf(t, r.Market, name); s.Err == "" || strings.Contains(s.Err, "127.0.0.1") || s.Origin != AWS {
			t.Errorf("source %+v, want an error without addresses and the old origin", s)
		}
	}
	f.set(func() { f.broken["*"] = false })
	once(t, r)
	if s := sourceOf(t, r.Market, SpotPrices); s.Err != "" {
		t.Errorf("source %+v, want the error gone", s)
	}
}

func TestOneRegionOrSourceThatFailsKeepsNoOtherBack(t *testing.T) {
	f, r := startAWS(t)
	r.Regions = []string{"us-east-1", "eu-west-1"}
	f.broken["eu-west-1"], f.broken["DescribeInstanceTypes"] = true, true
	once(t, r)
	prices := sourceOf(t, r.Market, SpotPrices)
	if good := prices.Regions["us-east-1"]; good.Origin != AWS || good.Err != "" || time.Since(good.AsOf) > time.Minute {
		t.Errorf("us-east-1 %+v, want fresh", good)
	}
	if bad := prices.Regions["eu-west-1"]; bad.Origin != Embedded || bad.Err == "" || bad.AsOf.Year() != 2025 {
		t.Errorf("eu-west-1 %+v, want old and an error", bad)
	}
	if prices.Origin != Embedded || !strings.Contains(prices.Err, "eu-west-1: ") || prices.AsOf.Year() != 2025 {
		t.Errorf("the source %+v, want the worst of its regions", prices.Facts)
	}
	if types := sourceOf(t, r.Market, InstanceTypes); types.Err == "" {
		t.Errorf("instance types %+v, want an error", types.Facts)
	}
	h := prices.Health(time.Now())
	if !h.Stale || len(h.Regions) != 2 || h.Regions[0].Region != "eu-west-1" || !h.Regions[0].Stale || h.Regions[1].Stale || h.Regions[1].AgeSeconds > 60 {
		t.Errorf("health %v, want eu-west-1 stale and us-east-1 not", h)
	}
}

func TestARegionThatNobodyKnowsIsShownAsSuch(t *testing.T) {
	_, r := startAWS(t)
	r.Regions = []string{"mars-north-1"}
	once(t, r)
	if h := sourceOf(t, r.Market, SpotPrices).Health(time.Now()); h.Origin != None || !h.Stale || h.AgeSeconds != 0 || h.Error == "" {
		t.Errorf("health %v, want origin none, stale, an error", h)
	}
	if stale := r.Market.Snapshot().Stale("mars-north-1", time.Now()); !slices.Contains(stale, SpotPrices) {
		t.Errorf("stale: %v", stale)
	}
}

func TestImplausibleAnswersAreNotTaken(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(f *fakeAWS)
		source string
	}{
		"spot prices of a mock":           {func(f *fakeAWS) { f.prices = 1e-5 }, SpotPrices},
		"spot prices times a hundred":     {func(f *fakeAWS) { f.prices = 100 }, SpotPrices},
		"a third of the spot prices":      {func(f *fakeAWS) { f.share = 0.3 }, SpotPrices},
		"on-demand prices times five":     {func(f *fakeAWS) { f.prices = 5 }, OnDemandPrices},
		"a third of on-demand prices":     {func(f *fakeAWS) { f.share = 0.3 }, OnDemandPrices},
		"types with ten times the memory": {func(f *fakeAWS) { f.memory = 10 }, InstanceTypes},
		"a third of the types":            {func(f *fakeAWS) { f.share = 0.3 }, InstanceTypes},
		"an advisor's file of one region": {func(f *fakeAWS) {
			f.advisor = `{"spot_advisor":{"us-east-1":{"Linux":{"m5.large":{"s":60,"r":1}}}}}`
		}, SpotAdvisor},
		"an advisor's file that calls all safe": {func(f *fakeAWS) {
			for _, bucket := range []string{"1", "2", "3", "4"} {
				f.advisor = strings.ReplaceAll(f.advisor, `"r":`+bucket, `"r":0`)
			}
		}, SpotAdvisor},
	} {
		t.Run(name, func(t *testing.T) {
			f, r := startAWS(t)
			c.spoil(f)
			once(t, r, c.source)
			if s := sourceOf(t, r.Market, c.source); !strings.Contains(s.Err, "implausible") || s.Origin != Embedded {
				t.Errorf("source %+v, want it refused as implausible", s)
			}
			if r.Market.Snapshot().OnDemand("us-east-1", "m5.large") != 0.096 && c.source == OnDemandPrices {
				t.Error("the price was taken")
			}
		})
	}
}

func TestPricesThatAreNoNumbersAreLeftOut(t *testing.T) {
	for _, price := range []string{"NaN", "+Inf", "-1", "0", "1e300", "cheap"} {
		f, r := startAWS(t)
		f.spot = price
		once(t, r, SpotPrices)
		now := r.Market.Snapshot()
		if _, there := now.regions["us-east-1"].spot["m5.large"]["us-east-1a"]; there {
			t.Errorf("%s was taken as a price", price)
		}
		if s := sourceOf(t, r.Market, SpotPrices); s.Err != "" {
			t.Errorf("%s spoiled all other prices: %s", price, s.Err)
		}
	}
}

func TestAnAdvisorFileThatIsNoneIsNotTaken(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON": "<html>", "empty": "{}", "unknown bucket": `{"spot_advisor":{"us-east-1":{"Linux":{"m5.large":{"r":7}}}}}`,
		"no bucket": `{"spot_advisor":{"us-east-1":{"Linux":{"m5.large":{"s":7}}}}}`, "no Linux": `{"spot_advisor":{"us-east-1":{"Windows":{"m5.large":{"r":1}}}}}`,
		"a type that is none": `{"spot_advisor":{"us-east-1":{"Linux":{"` + strings.Repeat("m", 5000) + `":{"r":1}}}}}`,
		"too large":           `{"spot_advisor":{"us-east-1":` + strings.Repeat(" ", advisorLimit) + `{}}}`,
		"deeply nested":       strings.Repeat(`{"spot_advisor":`, 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			f, r := startAWS(t)
			f.advisor = text
			once(t, r, SpotAdvisor)
			if s := sourceOf(t, r.Market, SpotAdvisor); s.Err == "" || s.Origin != Embedded {
				t.Errorf("source %+v, want an error", s)
			}
		})
	}
}

func TestTheAdvisorsFileIsNotSentAgainWhileItIsTheSame(t *testing.T) {
	f, r := startAWS(t)
	f.etag = `"one"`
	once(t, r, SpotAdvisor)
	first := sourceOf(t, r.Market, SpotAdvisor).AsOf
	once(t, r, SpotAdvisor)
	if s := sourceOf(t, r.Market, SpotAdvisor); f.sent != 1 || !s.AsOf.After(first) || s.Err != "" {
		t.Errorf("sent %d times, source %+v; want once, and newer by the second answer", f.sent, s.Facts)
	}
	if got := r.Market.Snapshot().regions["us-east-1"].bucket["m5.large"]; got != 1 {
		t.Errorf("bucket %d after a 304, want 1", got)
	}
	f.set(func() { f.etag, f.advisor = `"two"`, advisorFile(f.facts, 3) })
	once(t, r, SpotAdvisor)
	if got := r.Market.Snapshot().regions["us-east-1"].bucket["m5.large"]; got != 3 || f.sent != 2 {
		t.Errorf("bucket %d, sent %d times; want 3 and 2", got, f.sent)
	}
}

func TestWithoutCredentialsThePricesStayAndTheAdvisorComes(t *testing.T) {
	_, r := startAWS(t)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
	} {
		t.Setenv(name, value)
	}
	once(t, r)
	if s := sourceOf(t, r.Market, SpotPrices); s.Origin != Embedded || s.Err != "" {
		t.Errorf("source %+v, want embedded without an error", s)
	}
	if s := sourceOf(t, r.Market, SpotAdvisor); s.Origin != AWS {
		t.Errorf("source %+v, want it fetched: it is public", s)
	}
	// Credentials that come later are found.
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	r.Account.looked = time.Now().Add(-lookAgain)
	once(t, r)
	if s := sourceOf(t, r.Market, SpotPrices); s.Origin != AWS {
		t.Errorf("source %+v, want it fetched with the new credentials", s)
	}
}

func TestRetriesComeSoonAndLessAndLessOften(t *testing.T) {
	const every = 6 * time.Hour
	for failures, want := range map[int]time.Duration{0: time.Minute, 1: 2 * time.Minute, 5: 32 * time.Minute, 9: every, 1000: every} {
		if got := retryAfter(failures, every); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
	differ := map[time.Duration]bool{}
	for range 100 {
		d := jittered(time.Hour)
		if differ[d] = true; d < 54*time.Minute || d > 66*time.Minute {
			t.Errorf("an hour became %s", d)
		}
	}
	if len(differ) < 50 {
		t.Errorf("only %d different waits of 100", len(differ))
	}
}

func TestRunRefreshesAtOnceAroundASourceThatHangsAndEndsWithItsContext(t *testing.T) {
	f, r := startAWS(t)
	f.hang = "GetProducts"
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	deadline := time.After(30 * time.Second)
	for sourceOf(t, r.Market, SpotAdvisor).Origin != AWS || sourceOf(t, r.Market, SpotPrices).Origin != AWS {
		select {
		case <-deadline:
			t.Fatal("no refresh within 30 s")
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
