package predict_test

import (
	"math"
	"testing"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict"
)

// A decision scores pools by this.
var _ shop.PoolRisk = (*predict.Pools)(nil)

func m5large(t *testing.T) market.Offer {
	t.Helper()
	m, err := market.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, offer := range m.Snapshot().Offers("us-east-1", []string{"us-east-1a"}) {
		if offer.Type.Name == "m5.large" {
			return offer
		}
	}
	t.Fatal("m5.large is not for sale")
	return market.Offer{}
}

func TestPoolsAreScoredByWhatKnowsMost(t *testing.T) {
	pool := m5large(t)
	if p := server(t, predict.Config{}).Pools(t.Context()); p.Model() != "spot_advisor" {
		t.Errorf("model %s", p.Model())
	} else if _, ok := p.Interruptions("us-east-1", pool); ok {
		t.Error("nothing is known beside the advisor")
	}
	// 150 losses of 200 nodes in 20 days are 0.0375 a day, 1.14 in 730 hours.
	record := server(t, predict.Config{Records: &fakeRecords{lives: fleetOf("m5.large", "us-east-1a", 200, 150, 20)}}).Pools(t.Context())
	if rate, ok := record.Interruptions("us-east-1", pool); !ok || math.Abs(rate-1.14) > 0.2 || record.Model() != "empirical_bayes" {
		t.Errorf("%v %v by %s, want about 1.14", rate, ok, record.Model())
	}
	// The model's day is one of 96 steps of which each has log-odds of −8 or −9.
	model := server(t, predict.Config{Models: fakeModels{live: constant(t, -8, fitted, "vcpus")}}).Pools(t.Context())
	step := 1 / (1 + math.Exp(8))
	if rate, ok := model.Interruptions("us-east-1", pool); !ok || rate <= 0 || rate > 96*step*730/24*1.1 || model.Model() != "model/v1" {
		t.Errorf("%v %v by %s, want at most %v", rate, ok, model.Model(), 96*step*730/24)
	}
	certain := server(t, predict.Config{Models: fakeModels{live: constant(t, 40, fitted, "vcpus")}}).Pools(t.Context())
	if rate, ok := certain.Interruptions("us-east-1", pool); !ok || math.IsInf(rate, 0) || rate < 100 {
		t.Errorf("of a certain loss %v %v, want a large number", rate, ok)
	}
}
