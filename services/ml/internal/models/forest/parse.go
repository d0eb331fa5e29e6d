package forest

import "slices"

// Formats of files, as the contract spells them.
const (
	LightGBM = "lightgbm_text"
	XGBoost  = "xgboost_json"
	Native   = "cloudoptim"
)

// Parse a file of one of the formats. The findings are for people: what was left
// out, or may surprise. An error is a *Refusal.
func Parse(format string, raw []byte) (Spec, []string, error) {
	if len(raw) > MaxBytes {
		return Spec{}, nil, refuse("file", "has %d bytes; must be at most %d", len(raw), MaxBytes)
	}
	if len(raw) == 0 {
		return Spec{}, nil, refuse("file", "is empty")
	}
	switch format {
	case Native:
		spec, err := parseNative(raw)
		return spec, nil, err
	case LightGBM:
		return parseLightGBM(raw)
	case XGBoost:
		return parseXGBoost(raw)
	}
	return Spec{}, nil, refuse("format", "%s is not one of %s, %s, %s", quote(format), LightGBM, XGBoost, Native)
}

// Load parses a file and checks what it holds. An error is a *Refusal.
func Load(format string, raw []byte) (*Forest, []string, error) {
	spec, findings, err := Parse(format, raw)
	if err != nil {
		return nil, nil, err
	}
	f, err := New(spec)
	if err != nil {
		return nil, nil, err
	}
	return f, slices.Clip(findings), nil
}
