package market

import (
	"testing"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

func TestListPricesGivesEveryZoneOfTheTypesAskedFor(t *testing.T) {
	m, err := New()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := NewServer(m).ListPrices(t.Context(), &mlv1.ListPricesRequest{
		Region: "us-east-1", InstanceTypes: []string{"m5.large", "m99.huge"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Prices) != 6 || answer.SpotAsOf.AsTime().Year() != 2025 || answer.OnDemandAsOf.AsTime().Year() != 2026 {
		t.Fatalf("%d prices as of %v and %v, want 6 as of 2025 and 2026", len(answer.Prices), answer.SpotAsOf, answer.OnDemandAsOf)
	}
	for _, p := range answer.Prices {
		if p.InstanceType != "m5.large" || p.OnDemand != 0.096 || p.Spot >= 0.096 {
			t.Errorf("price %v", p)
		}
	}
	_, err = NewServer(m).ListPrices(t.Context(), &mlv1.ListPricesRequest{Region: "mars-north-1"})
	if fault.ReasonOf(err) != faultv1.Reason_REASON_NOT_FOUND {
		t.Errorf("got %v, want NOT_FOUND", err)
	}
}
