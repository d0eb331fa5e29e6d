package question

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

func TestWhatIsWrongIsNamed(t *testing.T) {
	for body, field := range map[string]string{
		`{"max_evictions": 3, "min_score": null, "zones": ["a"]}`: "",
		`{"max_evictions": 3.5}`:                                  "constraints.max_evictions",
		`{"max_evictions": "3"}`:                                  "constraints.max_evictions",
		`{"max_evictions": -1}`:                                   "constraints.max_evictions",
		`{"zones": "a"}`:                                          "constraints.zones",
		`{"zones": [1]}`:                                          "constraints.zones",
		`{"allow_purchases": 1}`:                                  "constraints.allow_purchases",
		`{"maxEvictions": 3}`:                                     "constraints.maxEvictions",
		`{"zzz": 1, "aaa": 1}`:                                    "constraints.aaa",
		`{"capacity_types": ["spot", "cheap"]}`:                   "constraints.capacity_types[1]",
		`{"excluded_pools": ["m5.large"]}`:                        "constraints.excluded_pools[0]",
	} {
		from := &structpb.Struct{}
		if err := protojson.Unmarshal([]byte(body), from); err != nil {
			t.Fatal(err)
		}
		err := Read("constraints", from, &mlv1.BinPackConstraints{})
		if field == "" {
			if err != nil {
				t.Errorf("%s: %v", body, err)
			}
			continue
		}
		if fault.ReasonOf(err) != faultv1.Reason_REASON_INVALID_REQUEST || fault.From(err).Details["field"] != field {
			t.Errorf("%s: %v, want that %s is named", body, err, field)
		}
	}
}

// FuzzRead: whatever comes is read or refused with the field that is wrong.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{`{}`, `{"max_evictions": 1e99}`, `{"min_score": "NaN"}`, `{"zones": [[null]]}`, `{"placement": {"a": 1}}`, `{"\u0000": 1}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		from := &structpb.Struct{}
		if protojson.Unmarshal([]byte(body), from) != nil {
			return
		}
		err := Read("constraints", from, &mlv1.BinPackConstraints{})
		if err == nil {
			return
		}
		field, _ := fault.From(err).Details["field"].(string)
		if fault.ReasonOf(err) != faultv1.Reason_REASON_INVALID_REQUEST || !strings.HasPrefix(field, "constraints.") {
			t.Errorf("%q: %v names %q", body, err, field)
		}
	})
}
