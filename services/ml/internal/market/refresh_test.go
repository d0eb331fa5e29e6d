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
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeAWS answers EC2's, the price list's and the Spot Advisor's calls.
type fakeAWS struct {
	spot    atomic.Value // string: price of m5.large in us-east-1a
	broken  atomic.Bool
	advisor atomic.Value // string
}

func (f *fakeAWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.broken.Load() {
		http.Error(w, "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors></Response>", http.StatusForbidden)
		return
	}
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	switch {
	case r.URL.Path == "/advisor.json":
		_, _ = io.WriteString(w, f.advisor.Load().(string))
	case r.Header.Get("X-Amz-Target") == "AWSPriceListService.GetProducts":
		entry, _ := json.Marshal(map[string]any{
			"product": map[string]any{"attributes": map[string]any{"instanceType": "m5.large"}},
			"terms": map[string]any{"OnDemand": map[string]any{"t": map[string]any{"priceDimensions": map[string]any{
				"d": map[string]any{"unit": "Hrs", "pricePerUnit": map[string]any{"USD": "0.0960000000"}},
			}}}},
		})
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(map[string]any{"PriceList": []string{string(entry)}})
	case form.Get("Action") == "DescribeSpotPriceHistory":
		_, _ = fmt.Fprintf(w, `<DescribeSpotPriceHistoryResponse><spotPriceHistorySet><item><instanceType>m5.large</instanceType>`+
			`<productDescription>Linux/UNIX</productDescription><spotPrice>%s</spotPrice><availabilityZone>us-east-1a</availabilityZone>`+
			`</item></spotPriceHistorySet></DescribeSpotPriceHistoryResponse>`, f.spot.Load())
	case form.Get("Action") == "DescribeInstanceTypes":
		_, _ = io.WriteString(w, `<DescribeInstanceTypesResponse><instanceTypeSet>`+
			`<item><instanceType>m5.large</instanceType><currentGeneration>true</currentGeneration><vCpuInfo><defaultVCpus>2</defaultVCpus></vCpuInfo>`+
			`<memoryInfo><sizeInMiB>8192</sizeInMiB></memoryInfo><networkInfo><maximumNetworkInterfaces>3</maximumNetworkInterfaces>`+
			`<ipv4AddressesPerInterface>10</ipv4AddressesPerInterface></networkInfo><processorInfo><supportedArchitectures><item>x86_64</item></supportedArchitectures></processorInfo></item>`+
			`<item><instanceType>m99.large</instanceType><currentGeneration>true</currentGeneration><vCpuInfo><defaultVCpus>2</defaultVCpus></vCpuInfo>`+
			`<memoryInfo><sizeInMiB>16384</sizeInMiB></memoryInfo><networkInfo><maximumNetworkInterfaces>3</maximumNetworkInterfaces>`+
			`<ipv4AddressesPerInterface>10</ipv4AddressesPerInterface></networkInfo><processorInfo><supportedArchitectures><item>arm64</item></supportedArchitectures></processorInfo></item>`+
			`</instanceTypeSet></DescribeInstanceTypesResponse>`)
	default:
		http.Error(w, "unexpected "+r.URL.Path+" "+form.Get("Action"), http.StatusBadRequest)
	}
}

const goodAdvisor = `{"spot_advisor":{"us-east-1":{"Linux":{"m5.large":{"s":60,"r":1}},"Windows":{"m5.large":{"s":10,"r":4}}}}}`

func startAWS(t *testing.T) (*fakeAWS, *Refresher) {
	t.Helper()
	f := &fakeAWS{}
	f.spot.Store("0.0400")
	f.advisor.Store(goodAdvisor)
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	m, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return f, &Refresher{
		Market: m, Regions: []string{"us-east-1"}, AdvisorURL: srv.URL + "/advisor.json", EndpointURL: srv.URL,
		Every: time.Hour, HTTP: srv.Client(), Log: slog.New(slog.DiscardHandler),
	}
}

// once refreshes one time, as Run does at its start.
func once(t *testing.T, r *Refresher) {
	t.Helper()
	account, err := r.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.refresh(t.Context(), account)
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
	offers := now.Offers("us-east-1", []string{"us-east-1a"})
	if len(offers) != 1 || offers[0].Bucket != 1 || offers[0].OnDemand != 0.096 {
		t.Errorf("offers %+v, want m5.large alone, bucket 1", offers)
	}
	for _, name := range []string{InstanceTypes, OnDemandPrices, SpotPrices, SpotAdvisor} {
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
}

func TestAFailedRefreshKeepsTheOldDataAndSaysSo(t *testing.T) {
	f, r := startAWS(t)
	once(t, r)
	f.broken.Store(true)
	once(t, r)
	if got := r.Market.Snapshot().Spot("us-east-1", "m5.large", "us-east-1a"); got != 0.04 {
		t.Errorf("spot price %v, want still 0.04", got)
	}
	for _, name := range []string{InstanceTypes, OnDemandPrices, SpotPrices, SpotAdvisor} {
		if s := sourceOf(t, r.Market, name); s.Err == "" || strings.Contains(s.Err, "127.0.0.1") || s.Origin != AWS {
			t.Errorf("source %+v, want an error without addresses and the old origin", s)
		}
	}
	f.broken.Store(false)
	once(t, r)
	if s := sourceOf(t, r.Market, SpotPrices); s.Err != "" {
		t.Errorf("source %+v, want the error gone", s)
	}
}

func TestImplausiblePricesAreNotTaken(t *testing.T) {
	f, r := startAWS(t)
	f.spot.Store("0.00001") // what a mock of AWS gives
	once(t, r)
	if got := r.Market.Snapshot().Spot("us-east-1", "m5.large", "us-east-1a"); got < 0.03 {
		t.Errorf("spot price %v was taken", got)
	}
	if s := sourceOf(t, r.Market, SpotPrices); s.Err == "" || s.Origin != Embedded {
		t.Errorf("source %+v, want an error", s)
	}
}

func TestAnAdvisorFileThatIsNoneIsNotTaken(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON": "<html>", "empty": "{}", "unknown bucket": `{"spot_advisor":{"us-east-1":{"Linux":{"m5.large":{"r":7}}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			f, r := startAWS(t)
			f.advisor.Store(text)
			once(t, r)
			if s := sourceOf(t, r.Market, SpotAdvisor); s.Err == "" || s.Origin != Embedded {
				t.Errorf("source %+v, want an error", s)
			}
		})
	}
}

func TestWithoutCredentialsNothingIsFetched(t *testing.T) {
	_, r := startAWS(t)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
	} {
		t.Setenv(name, value)
	}
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := sourceOf(t, r.Market, SpotPrices); s.Origin != Embedded || s.Err != "" {
		t.Errorf("source %+v, want embedded without an error", s)
	}
}

func TestRunRefreshesAtOnceAndEndsWithItsContext(t *testing.T) {
	_, r := startAWS(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	deadline := time.After(30 * time.Second)
	for sourceOf(t, r.Market, SpotAdvisor).Origin != AWS {
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
