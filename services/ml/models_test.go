package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/observe"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// replica is an ml on the database, until the test ends.
func replica(t *testing.T, db *pgtest.DB) (*server, *httptest.Server) {
	t.Helper()
	told, err := observe.Start(t.Context(), observe.Discard())
	if err != nil {
		t.Fatal(err)
	}
	prices, err := market.New()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := store.Open(t.Context(), db.ReadOnlyDSN, 4, nil)
	if err != nil {
		t.Fatal(err)
	}
	var s settings
	s.Auth.APIKeys = []string{testKey}
	srv, err := newServer(&s, told, prices, &market.Account{Log: told.Log}, rows)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.models.Run(ctx) }()
	front := httptest.NewServer(srv.http)
	t.Cleanup(func() { stop(); <-done; front.Close(); srv.rpc.Stop(); rows.Close() })
	return srv, front
}

// hazards is a file of a model: one chance in a step for the young, another for the rest.
func hazards(t *testing.T, young, old float64) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := forest.Write(&out, forest.Spec{
		Features: []string{feature.Schema[feature.UptimeMinutes].Name}, Objective: forest.Binary,
		Trees: []forest.Tree{{
			Nodes:  []forest.Node{{Op: forest.Less, Threshold: 60, Left: -1, Right: -2}},
			Leaves: []forest.Leaf{{Value: young, Cover: 1}, {Value: old, Cover: 1}},
		}},
	}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// use writes what central writes when it promotes or shadows a model.
func use(t *testing.T, db *pgtest.DB, state string, content []byte) string {
	t.Helper()
	sum := sha256.Sum256(content)
	digits := hex.EncodeToString(sum[:])
	for _, sql := range []string{
		`UPDATE models SET state = 'retired', retired_at = now() WHERE state = $2 AND sha256 <> $1 AND $3::bytea IS NOT NULL`,
		`INSERT INTO models (model_version, name, kind, format, sha256, size_bytes, content, state, checked, schema_ok, created_by, promoted_at)
			VALUES (left($1, 16), 'm', 'spot_interruption', 'cloudoptim', $1, octet_length($3::bytea), $3::bytea, $2, '{}', true, 'test', now())
			ON CONFLICT (sha256) DO UPDATE SET state = $2, retired_at = NULL`,
	} {
		if _, err := db.Pool.Exec(t.Context(), sql, digits, state, content); err != nil {
			t.Fatal(err)
		}
	}
	return digits[:16]
}

func fetch(t *testing.T, method, url, body string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s, %v", resp.StatusCode, raw, err)
	}
	var answer map[string]any
	if raw[0] == '[' {
		raw = []byte(`{"list":` + string(raw) + `}`)
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func predictAt(t *testing.T, front *httptest.Server, uptime string) map[string]any {
	t.Helper()
	return fetch(t, http.MethodPost, front.URL+"/api/v1/ml/predict/spot-interruption",
		`{"instance_type": "m5.large", "region": "us-east-1", "availability_zone": "us-east-1a", "uptime_minutes": `+uptime+`, "horizon_minutes": 15}`)
}

// until asks again while a replica has not followed yet.
func until(t *testing.T, front *httptest.Server, version string) map[string]any {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		answer := predictAt(t, front, "10")
		if answer["model_version"] == version {
			return answer
		}
		if time.Now().After(end) {
			t.Fatalf("answers by %v (%v), want model %s", answer["model_version"], answer["source"], version)
		}
	}
}

func TestReplicasPredictByTheModelThatTheDatabaseSaysIsLive(t *testing.T) {
	db := pgtest.New(t)
	_, a := replica(t, db)
	_, b := replica(t, db)
	if answer := predictAt(t, a, "10"); answer["source"] == "model" {
		t.Errorf("without a model: %v", answer)
	}
	first := use(t, db, "live", hazards(t, 0, -4))
	for _, front := range []*httptest.Server{a, b} {
		answer := until(t, front, first)
		if p := answer["probability"].(float64); answer["source"] != "model" || p < 0.49 || p > 0.51 {
			t.Errorf("young: %v, want one half", answer)
		}
		if p := predictAt(t, front, "600")["probability"].(float64); p > 0.02 {
			t.Errorf("old: %v", p)
		}
		if health := fetch(t, http.MethodGet, front.URL+"/api/v1/ml/health", ""); health["models_loaded"] != true {
			t.Errorf("health: %v", health)
		}
	}
	decided := fetch(t, http.MethodPost, a.URL+"/api/v1/ml/decision/spot-optimize", decision("spot_optimize", "", ""))
	if decided["risk_model"] != "model/"+first {
		t.Errorf("decided by %v, want model/%s", decided["risk_model"], first)
	}
	second := use(t, db, "live", hazards(t, 1, -4))
	until(t, a, second)
	until(t, b, second)
	use(t, db, "live", hazards(t, 0, -4)) // rolled back
	until(t, a, first)
	until(t, b, first)
	shadow := use(t, db, "shadow", hazards(t, 1, -4))
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		predictAt(t, a, "10")
		list := fetch(t, http.MethodGet, a.URL+"/api/v1/ml/models", "")["list"].([]any)
		if len(list) == 2 {
			s := list[1].(map[string]any)
			if d := s["mean_absolute_difference"].(float64); s["model_version"] == shadow && s["role"] == "shadow" && d > 0.22 && d < 0.24 {
				break // σ(1) − σ(0) = 0.231
			}
		}
		if time.Now().After(end) {
			t.Fatalf("figures %v", list)
		}
	}
}

func TestAnUploadedModelIsCheckedAgainstThePredictorsFeatures(t *testing.T) {
	srv := testServer(t)
	conn, err := rpc.InProcess(srv.rpc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	good := hazards(t, 0, -4)
	for name, c := range map[string]struct {
		content []byte
		want    bool
	}{
		"a feature of the schema": {good, true},
		"another":                 {bytes.Replace(good, []byte(feature.Schema[feature.UptimeMinutes].Name), []byte("moon"), 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := mlv1.NewModelServiceClient(conn).CheckModel(withKey(t))
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(c.content)
			_ = stream.Send(&mlv1.CheckModelRequest{Part: &mlv1.CheckModelRequest_File{File: &mlv1.CheckModelFile{
				Format: forest.Native, Sha256: hex.EncodeToString(sum[:]),
			}}})
			_ = stream.Send(&mlv1.CheckModelRequest{Part: &mlv1.CheckModelRequest_Chunk{Chunk: c.content}})
			got, err := stream.CloseAndRecv()
			if err != nil || got.GetSchemaOk() != c.want {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func withKey(t *testing.T) context.Context {
	t.Helper()
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+testKey)
}
