package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
)

// eniLimit is how many network interfaces and addresses a type takes.
type eniLimit struct {
	interfaces, addresses int
	bareMetal             bool
}

// readLimits reads `var Limits = map[string]*VPCLimits{"m5.large": {Interface: 3, …}}`.
func readLimits(path string) (map[string]eniLimit, error) {
	table, err := literal(path, "Limits")
	if err != nil {
		return nil, err
	}
	limits := map[string]eniLimit{}
	for name, value := range entries(table) {
		var limit eniLimit
		for field, v := range entries(value) {
			switch field {
			case "Interface":
				limit.interfaces = int(number(v))
			case "IPv4PerInterface":
				limit.addresses = int(number(v))
			case "IsBareMetal":
				ident, ok := v.(*ast.Ident)
				limit.bareMetal = ok && ident.Name == "true"
			}
		}
		limits[name] = limit
	}
	return limits, nil
}

// readOnDemand reads `var InitialOnDemandPricesAWS = map[region]map[type]float64{…}`.
func readOnDemand(path string) (map[string]map[string]float64, error) {
	table, err := literal(path, "InitialOnDemandPricesAWS")
	if err != nil {
		return nil, err
	}
	prices := map[string]map[string]float64{}
	for region, value := range entries(table) {
		prices[region] = map[string]float64{}
		for name, price := range entries(value) {
			prices[region][name] = number(price)
		}
	}
	return prices, nil
}

// literal finds the composite literal that a package variable starts with.
func literal(path, variable string) (ast.Expr, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		return nil, fmt.Errorf("parsing %s: %w", path, err)
	}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			continue
		}
		for _, spec := range group.Specs {
			value := spec.(*ast.ValueSpec)
			if value.Names[0].Name == variable && len(value.Values) == 1 {
				return value.Values[0], nil
			}
		}
	}
	return nil, fmt.Errorf("no variable %s in %s", variable, path)
}

// entries of a map or struct literal by key or field name.
func entries(expr ast.Expr) map[string]ast.Expr {
	found := map[string]ast.Expr{}
	composite, ok := expr.(*ast.CompositeLit)
	if !ok {
		return found
	}
	for _, element := range composite.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		switch key := pair.Key.(type) {
		case *ast.BasicLit:
			if name, err := strconv.Unquote(key.Value); err == nil {
				found[name] = pair.Value
			}
		case *ast.Ident:
			found[key.Name] = pair.Value
		}
	}
	return found
}

func number(expr ast.Expr) float64 {
	basic, ok := expr.(*ast.BasicLit)
	if !ok {
		return 0
	}
	value, err := strconv.ParseFloat(basic.Value, 64)
	if err != nil {
		return 0
	}
	return value
}
