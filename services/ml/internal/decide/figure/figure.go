// Package figure is how figures look in an answer: rounded for people, in Structs.
package figure

import (
	"math"

	"google.golang.org/protobuf/types/known/structpb"
)

// HoursPerMonth is the month that AWS and this contract count with.
const HoursPerMonth = 730

// Cents rounds USD for people; prices themselves are never rounded.
func Cents(usd float64) float64 { return math.Round(usd*100) / 100 }

// Digits that mean something; the rest would only differ by rounding.
func Digits(v float64) float64 { return math.Round(v*1e4) / 1e4 }

// Struct of plain values, which cannot fail.
func Struct(values map[string]any) *structpb.Struct {
	s, err := structpb.NewStruct(values)
	if err != nil {
		return &structpb.Struct{}
	}
	return s
}
