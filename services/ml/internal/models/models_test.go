package models_test

import (
	"context"
	"errors"
	"testing"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/models"
)

type fakeDatabase struct{ err error }

func (f fakeDatabase) Check(context.Context) error { return f.err }

func health(t *testing.T, database models.Database) *mlv1.GetHealthResponse {
	t.Helper()
	m, err := market.New()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := models.New(models.Config{Market: m, Database: database}).GetHealth(t.Context(), &mlv1.GetHealthRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestHealthTellsOldPricesAndThatNoModelIsLive(t *testing.T) {
	answer := health(t, nil)
	if answer.Status != "degraded" || answer.ModelsLoaded {
		t.Errorf("status %s, models loaded %v; want degraded by old prices, and no model", answer.Status, answer.ModelsLoaded)
	}
	names := map[string]bool{}
	for _, s := range answer.Sources {
		names[s.Name] = true
		if s.Origin != "embedded" || s.AgeSeconds <= 0 || s.Error != "" {
			t.Errorf("source %v", s)
		}
	}
	for _, want := range []string{"instance_types", "on_demand_prices", "spot_prices", "spot_advisor"} {
		if !names[want] {
			t.Errorf("no source %s", want)
		}
	}
	if names["database"] {
		t.Error("a database is reported that is not configured")
	}
}

func TestHealthTellsWhetherTheDatabaseAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"it answers":         {nil, ""},
		"it does not answer": {errors.New("dial tcp 10.0.0.1: refused"), "the database does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range health(t, fakeDatabase{c.err}).Sources {
				if s.Name == "database" && s.Error == c.want && s.Origin == "postgresql" {
					return
				}
			}
			t.Errorf("no source says %q", c.want)
		})
	}
}
