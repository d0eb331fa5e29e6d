package spotoptimize

const (
	// RestartCost is what one unplanned restart of a pod is taken to cost, USD: the work
	// it loses and the capacity held twice meanwhile. Small on purpose: it decides
	// between pools of nearly the same price and never outweighs a real saving.
	RestartCost = 1.0
	// MoveCost is what moving a pod once, drained and with its replacement waiting, is
	// taken to cost, USD. A plan must save more than that within a month.
	MoveCost = 0.25
	// nodeCost per hour of every node whatever its size: a root volume of 20 GiB gp3
	// costs about 1.60 USD a month. It keeps plans from falling into crumbs.
	nodeCost = 0.0022
	// concentration is the share of the new nodes' price added when all of them were
	// one node or in one zone; it falls as they spread.
	concentration = 0.05
)
