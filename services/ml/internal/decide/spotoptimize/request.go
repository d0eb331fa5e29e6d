package spotoptimize

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Defaults of the constraints, as the contract documents them.
const (
	defaultMaxSpot     = 1.0
	defaultPoolShare   = 0.34
	defaultPriceRatio  = 1.0
	defaultMaxRisk     = 0.8
	defaultMinSavings  = 0.05
	defaultGranularity = 1e-9 // slack for shares that are whole but for rounding
)

// wants is what must be had.
type wants struct {
	cpu, memoryGiB float64
	nodes          int
	urgent         bool
}

// limits is what must not be.
type limits struct {
	maxSpot, poolShare, priceRatio float64
	floorCPU, maxRisk, minSavings  float64
	maxNodes                       int
	zones, architectures           []string
	types, excluded, excludedPools []string

	finer
}

// decode reads the two Structs of a request strictly: an unknown key or a wrong
// type is the caller's mistake and is named, never ignored.
func decode(req *mlv1.DecisionRequest) (wants, limits, error) {
	r, c := &mlv1.SpotOptimizeRequirements{}, &mlv1.SpotOptimizeConstraints{}
	if err := checkNested(req); err != nil {
		return wants{}, limits{}, err
	}
	if err := decodeStruct("requirements", req.GetRequirements(), r); err != nil {
		return wants{}, limits{}, err
	}
	if err := decodeStruct("constraints", req.GetConstraints(), c); err != nil {
		return wants{}, limits{}, err
	}
	w := wants{
		cpu: max(r.GetCpuRequired(), r.GetCpu()), memoryGiB: max(r.GetMemoryRequired(), r.GetMemory()),
		nodes: int(r.GetNodeCount()), urgent: r.GetUrgent(),
	}
	l := limits{
		maxSpot: or(c.MaxSpotPercentage, defaultMaxSpot), poolShare: or(c.MaxPoolShare, defaultPoolShare),
		priceRatio: or(c.MaxPriceRatio, defaultPriceRatio), floorCPU: or(c.OnDemandFloorCpu, 0),
		maxRisk: or(c.MaxRiskScore, defaultMaxRisk), minSavings: or(c.MinSavingsRatio, defaultMinSavings),
		maxNodes: int(c.GetMaxNodes()), zones: c.GetZones(), architectures: c.GetArchitectures(),
		types: c.GetInstanceTypes(), excluded: c.GetExcludedInstanceTypes(), excludedPools: c.GetExcludedPools(),
	}
	l.refine(c)
	l.history = r.GetPoolHistory()
	return w, l, checkPatterns(l)
}

func or(value *float64, fallback float64) float64 {
	if value == nil {
		return fallback
	}
	return *value
}

// checkPatterns refuses what path.Match cannot read.
func checkPatterns(l limits) error {
	for field, patterns := range map[string][]string{"instance_types": l.types, "excluded_instance_types": l.excluded} {
		for i, pattern := range patterns {
			if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
				return fault.Invalid(fmt.Sprintf("constraints.%s[%d]", field, i), "must be a type or a family with a star, such as m5.*")
			}
		}
	}
	return nil
}

// decodeStruct reads the Struct named name into a message. Field by field, since
// protojson does not say which field an error is about.
func decodeStruct(name string, from *structpb.Struct, into proto.Message) error {
	fields := into.ProtoReflect().Descriptor().Fields()
	for key, value := range from.GetFields() {
		if fields.ByName(protoName(key)) == nil {
			return fault.Invalid(name+"."+key, "is not a known field")
		}
		if _, null := value.GetKind().(*structpb.Value_NullValue); null {
			continue
		}
		text, err := protojson.Marshal(&structpb.Struct{Fields: map[string]*structpb.Value{key: value}})
		if err != nil {
			return fault.Invalid(name+"."+key, "must be a JSON value").Because(err)
		}
		one := into.ProtoReflect().New().Interface()
		if err := protojson.Unmarshal(text, one); err != nil || stringified(fields.ByName(protoName(key)), value) {
			return fault.Invalid(name+"."+key, "must be "+kindName(fields.ByName(protoName(key)))).Because(err)
		}
		proto.Merge(into, one)
	}
	return violation(name, protovalidate.Validate(into))
}

func violation(name string, err error) error {
	if err == nil {
		return nil
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) || len(invalid.Violations) == 0 {
		return fmt.Errorf("validating %s: %w", name, err)
	}
	first := invalid.Violations[0].Proto
	field := name + "." + protovalidate.FieldPathString(first.GetField())
	return fault.Invalid(field, strings.TrimPrefix(first.GetMessage(), "value ")).Because(err)
}
