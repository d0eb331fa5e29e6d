package models_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/models"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
)

// open lets everybody in.
type open struct{}

func (open) Authorize(ctx context.Context, _ string, _ *accessv1.Policy, _ string) (context.Context, error) {
	return ctx, nil
}

// door leads to a model service behind the real chain.
func door(t *testing.T) mlv1.ModelServiceClient {
	t.Helper()
	srv := rpc.NewServer(rpc.ServerConfig{Log: slog.New(slog.DiscardHandler), Authorizer: open{}})
	mlv1.RegisterModelServiceServer(srv, models.New(models.Config{Registry: models.NewRegistry(models.RegistryConfig{
		Published: []string{"a", "b", "c", "d"}, Build: build,
	})}))
	conn, err := rpc.InProcess(srv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Stop(); _ = conn.Close() })
	return mlv1.NewModelServiceClient(conn)
}

func digits(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

func head(format, sum string) *mlv1.CheckModelRequest {
	return &mlv1.CheckModelRequest{Part: &mlv1.CheckModelRequest_File{File: &mlv1.CheckModelFile{Format: format, Sha256: sum}}}
}

func chunk(raw []byte) *mlv1.CheckModelRequest {
	return &mlv1.CheckModelRequest{Part: &mlv1.CheckModelRequest_Chunk{Chunk: raw}}
}

// check sends messages and returns the answer.
func check(t *testing.T, ml mlv1.ModelServiceClient, messages ...*mlv1.CheckModelRequest) (*mlv1.CheckModelResponse, *fault.Error) {
	t.Helper()
	stream, err := ml.CheckModel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, msg := range messages {
		if stream.Send(msg) != nil {
			break // the answer says why
		}
	}
	resp, err := stream.CloseAndRecv()
	if err != nil {
		return nil, fault.From(err)
	}
	return resp, nil
}

func whole(format string, raw []byte) []*mlv1.CheckModelRequest {
	all := []*mlv1.CheckModelRequest{head(format, digits(raw))}
	for part := range slices.Chunk(raw, 1000) {
		all = append(all, chunk(part))
	}
	return all
}

func TestAGoodFileIsDescribed(t *testing.T) {
	ml := door(t)
	for format, name := range map[string]string{forest.LightGBM: "lightgbm-4.7.0-categories", forest.XGBoost: "xgboost-3.2.0-stopped_early"} {
		raw, err := os.ReadFile("forest/testdata/golden/" + name + ".model")
		if err != nil {
			t.Fatal(err)
		}
		got, failed := check(t, ml, whole(format, raw)...)
		if failed != nil {
			t.Fatal(failed)
		}
		if !got.GetSchemaOk() || got.GetKind() != "spot_interruption" || got.GetObjective() != "binary" || got.GetTrees() == 0 || got.GetNodes() == 0 ||
			!slices.Equal(got.GetFeatures(), []string{"a", "b", "c", "d"}) {
			t.Errorf("%s: %v", format, got)
		}
		if early := len(got.GetFindings()) > 0 && strings.Contains(got.GetFindings()[0], "stopped early"); early != (format == forest.XGBoost) {
			t.Errorf("%s: findings %q", format, got.GetFindings())
		}
	}
}

func TestAFileThatFitsNoPredictorIsDescribedWithWhatToDo(t *testing.T) {
	spec := forest.Spec{
		Features: []string{"a", "moon"}, Objective: forest.Regression, Metrics: map[string]float64{"auc": 0.9},
		Trees: []forest.Tree{{Leaves: []forest.Leaf{{}}}},
	}
	got, failed := check(t, door(t), whole(forest.Native, file(t, spec))...)
	if failed != nil {
		t.Fatal(failed)
	}
	said := strings.Join(got.GetFindings(), "\n")
	if got.GetSchemaOk() || !slices.Equal(got.GetUnknownFeatures(), []string{"moon"}) || got.GetTrainingMetrics()["auc"] != 0.9 ||
		!strings.Contains(said, "binary objective") || !strings.Contains(said, "moon") {
		t.Errorf("%v", got)
	}
}

func TestAFileThatCannotBeTakenIsRefusedWithTheReason(t *testing.T) {
	ml := door(t)
	good := constant(t, 0.1)
	cycle := []byte(strings.Replace(string(good), `"leaves":[{"value":0}]`,
		`"nodes":[{"feature":0,"op":"<","missing":"nan","left":0,"right":-1}],"leaves":[{"value":0},{"value":0}]`, 1))
	large := make([]*mlv1.CheckModelRequest, 66)
	large[0] = head(forest.Native, digits(nil))
	for i := range large[1:] {
		large[i+1] = chunk(make([]byte, 1<<20))
	}
	for name, c := range map[string]struct {
		messages []*mlv1.CheckModelRequest
		reason   faultv1.Reason
		field    string
		say      string
	}{
		"nothing":              {nil, faultv1.Reason_REASON_INVALID_REQUEST, "file", ""},
		"bytes first":          {[]*mlv1.CheckModelRequest{chunk(good)}, faultv1.Reason_REASON_INVALID_REQUEST, "file", ""},
		"the file named twice": {append(whole(forest.Native, good), head(forest.Native, digits(good))), faultv1.Reason_REASON_INVALID_REQUEST, "file", ""},
		"a message of nothing": {[]*mlv1.CheckModelRequest{{}}, faultv1.Reason_REASON_INVALID_REQUEST, "part", ""},
		"a format unknown":     {whole("onnx", good), faultv1.Reason_REASON_INVALID_REQUEST, "file.format", ""},
		"a sum that is none":   {[]*mlv1.CheckModelRequest{head(forest.Native, "x")}, faultv1.Reason_REASON_INVALID_REQUEST, "file.sha256", ""},
		"a part lost":          {whole(forest.Native, good)[:1], faultv1.Reason_REASON_INVALID_REQUEST, "sha256", ""},
		"a chunk too large":    {[]*mlv1.CheckModelRequest{head(forest.Native, digits(good)), chunk(make([]byte, 1<<20+1))}, faultv1.Reason_REASON_INVALID_REQUEST, "chunk", ""},
		"too many bytes":       {large, faultv1.Reason_REASON_TOO_LARGE, "", ""},
		"a cut file":           {whole(forest.Native, good[:len(good)/2]), faultv1.Reason_REASON_INVALID_REQUEST, "file", "cut off"},
		"a cycle":              {whole(forest.Native, cycle), faultv1.Reason_REASON_INVALID_REQUEST, "file", "a cycle or a shared child"},
		"another format":       {whole(forest.LightGBM, good), faultv1.Reason_REASON_INVALID_REQUEST, "file", `must begin with a line "tree"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, failed := check(t, ml, c.messages...)
			if failed == nil || failed.Reason != c.reason {
				t.Fatalf("%v, want %s", failed, c.reason)
			}
			if field, _ := failed.Details["field"].(string); field != c.field {
				t.Errorf("field %q, want %q", field, c.field)
			}
			if constraint, _ := failed.Details["constraint"].(string); !strings.Contains(constraint, c.say) {
				t.Errorf("constraint %q, want %q", constraint, c.say)
			}
		})
	}
}

func TestACheckThatIsBrokenOffLeavesRoomForOthers(t *testing.T) {
	ml := door(t)
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := ml.CheckModel(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(head(forest.Native, digits(nil))); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	if _, failed := check(t, ml, whole(forest.Native, file(t, forest.Spec{
		Features: []string{"a"}, Objective: forest.Binary, Trees: []forest.Tree{{Leaves: []forest.Leaf{{}}}},
	}))...); failed != nil {
		t.Error(failed)
	}
}
