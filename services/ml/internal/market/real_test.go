package market

import (
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudoptim/cloudoptim/pkg/moto/mototest"
)

// snapshot of the real Spot Advisor's file; false if the data is not on this machine.
func snapshot(t *testing.T, name string) (string, bool) {
	t.Helper()
	root := os.Getenv("CLOUDOPTIM_DATA")
	if root == "" {
		root = "../../../../../shared/data"
	}
	file, err := os.Open(filepath.Join(root, "spot-advisor", name))
	if err != nil {
		t.Logf("%s is not on this machine", name)
		return "", false
	}
	defer file.Close()
	zipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(zipped)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), true
}

func TestRealAdvisorFilesAreReadAndOldOnesNotTakenForNew(t *testing.T) {
	for name, want := range map[string]struct {
		regions int
		taken   bool
	}{
		"spot-advisor-2025-06-28.json.gz": {33, true},
		"spot-advisor-2024-02-28.json.gz": {29, true},
		// It has a third of the types that are known since: it is not today's.
		"spot-advisor-2021-02-10.json.gz": {21, false},
	} {
		text, ok := snapshot(t, name)
		if !ok {
			continue
		}
		buckets, err := parseAdvisor(strings.NewReader(text))
		if err != nil || len(buckets) != want.regions {
			t.Errorf("%s: %d regions, want %d (%v)", name, len(buckets), want.regions, err)
		}
		f, r := startAWS(t)
		f.advisor = text
		once(t, r, SpotAdvisor)
		if s := sourceOf(t, r.Market, SpotAdvisor); (s.Origin == AWS) != want.taken {
			t.Errorf("%s: source %+v, want taken: %v", name, s.Facts, want.taken)
		}
		// Cut off anywhere, it is nothing.
		text = strings.TrimSpace(text)
		for _, at := range []int{1, len(text) / 3, len(text) - 1} {
			if _, err := parseAdvisor(strings.NewReader(text[:at])); err == nil {
				t.Errorf("%s cut off at %d was read", name, at)
			}
		}
	}
}

// moto gives real types and offerings, and one made-up price for everything.
func TestAgainstMotoTypesAreTakenAndItsPricesAreNot(t *testing.T) {
	_, r := startAWS(t)
	srv := mototest.Server(t)
	t.Cleanup(func() { _ = mototest.Stop() })
	quiet := slog.New(slog.DiscardHandler)
	r.Account = &Account{Endpoint: srv.Endpoint, Log: quiet}
	once(t, r)
	if s := sourceOf(t, r.Market, InstanceTypes); s.Err != "" || s.Origin != AWS {
		t.Errorf("types %+v, want taken", s.Facts)
	}
	if kind, ok := r.Market.Snapshot().Type("m5.large"); !ok || kind.VCPU != 2 || kind.MemoryMiB != 8192 || kind.MaxPods != 29 {
		t.Errorf("m5.large is %+v", kind)
	}
	for _, name := range []string{SpotPrices, OnDemandPrices} {
		if s := sourceOf(t, r.Market, name); s.Err == "" || s.Origin != Embedded {
			t.Errorf("%s %+v, want refused", name, s.Facts)
		}
	}
}

func TestAnEndpointThatSendsWithoutEndIsCutOff(t *testing.T) {
	_, r := startAWS(t)
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `<DescribeSpotPriceHistoryResponse><spotPriceHistorySet>`)
		for sent := 0; sent < 2*answerLimit; sent += 1 << 20 {
			if _, err := io.WriteString(w, strings.Repeat(" ", 1<<20)); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	r.Account = &Account{Endpoint: endless.URL, Log: r.Log}
	once(t, r, SpotPrices)
	if s := sourceOf(t, r.Market, SpotPrices); s.Err == "" || s.Origin != Embedded || time.Since(s.AsOf) < time.Hour {
		t.Errorf("source %+v, want an error", s.Facts)
	}
}

func FuzzParseAdvisor(f *testing.F) {
	f.Add(`{"spot_advisor":{"us-east-1":{"Linux":{"m5.large":{"s":60,"r":1}}}}}`)
	f.Add(`{"spot_advisor":{"us-east-1":{"Linux":{"m5.large":{"r":-1}}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		buckets, err := parseAdvisor(strings.NewReader(text))
		if err != nil {
			return
		}
		for region, byType := range buckets {
			if len(byType) == 0 {
				t.Errorf("region %q is empty", region)
			}
			for name, bucket := range byType {
				if bucket < 0 || bucket > 4 {
					t.Errorf("%q has bucket %d", name, bucket)
				}
			}
		}
	})
}
