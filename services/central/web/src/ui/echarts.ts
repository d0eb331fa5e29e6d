// What the product's charts need of ECharts, and nothing else. Loaded with the first chart.
import { BarChart, HeatmapChart, LineChart, ScatterChart } from 'echarts/charts'
import { GridComponent, MarkLineComponent, TooltipComponent, VisualMapComponent } from 'echarts/components'
import * as core from 'echarts/core'
import { SVGRenderer } from 'echarts/renderers'

core.use([LineChart, BarChart, ScatterChart, HeatmapChart, GridComponent, TooltipComponent, VisualMapComponent, MarkLineComponent, SVGRenderer])

/** Makes a chart in an element. */
export const init = (element: HTMLElement) => core.init(element, null, { renderer: 'svg' })
