package market

import (
	"errors"
	"testing"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

func TestHistoryGivesPlausiblePricesPageByPage(t *testing.T) {
	f, r := startAWS(t)
	h := &History{Market: r.Market, Account: r.Account}
	if !h.Available(t.Context()) {
		t.Fatal("credentials are there and not found")
	}
	ask := func(page func([]*mlv1.SpotPriceRow) error) error {
		return h.SpotPrices(t.Context(), "us-east-1", []string{"m5.large"}, time.Now().Add(-time.Hour), time.Now(), page)
	}
	var found *mlv1.SpotPriceRow
	if err := ask(func(rows []*mlv1.SpotPriceRow) error {
		for _, row := range rows {
			if row.InstanceType == "m5.large" && row.AvailabilityZone == "us-east-1a" {
				found = row
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if found.GetPrice() != 0.04 || found.GetRegion() != "us-east-1" || found.GetAt().AsTime().Year() != 2026 {
		t.Errorf("row %v", found)
	}
	broken := errors.New("the other side went away")
	if err := ask(func([]*mlv1.SpotPriceRow) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the page's own error", err)
	}
	f.set(func() { f.prices = 1e-5 })
	if err := ask(func([]*mlv1.SpotPriceRow) error { t.Error("a mock's prices were handed on"); return nil }); !errors.Is(err, errImplausible) {
		t.Errorf("got %v, want implausible", err)
	}
}
