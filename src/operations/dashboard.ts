/**
 * The Grafana dashboard, made from dashboard-panels.ts: an importable document that asks for its Prometheus and lets
 * choose by job and instance.
 */
import { type Panel, panelRows } from './dashboard-panels.ts'

/** The oldest schema that has all of this; newer Grafanas bring it up to date by themselves. */
const schemaVersion = 39
const input = 'DS_PROMETHEUS'
const columns = 24
const heights = { stat: 4, timeseries: 8 }
/** Grafana puts the chosen Prometheus in its place. */
const datasource = { type: 'prometheus', uid: `\${${input}}` }

export function grafanaDashboard(): object {
  return {
    __inputs: [
      {
        name: input,
        label: 'Prometheus',
        description: 'The Prometheus that scrapes MiniMart.',
        type: 'datasource',
        pluginId: 'prometheus',
        pluginName: 'Prometheus',
      },
    ],
    __requires: [
      { type: 'grafana', id: 'grafana', name: 'Grafana', version: '10.4.0' },
      { type: 'datasource', id: 'prometheus', name: 'Prometheus', version: '1.0.0' },
      ...['stat', 'timeseries', 'row'].map((id) => ({ type: 'panel', id, name: id, version: '' })),
    ],
    uid: 'minimart',
    title: 'MiniMart',
    tags: ['minimart'],
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    schemaVersion,
    time: { from: 'now-3h', to: 'now' },
    templating: { list: [variable('job', ''), variable('instance', '{job=~"$job"}')] },
    panels: placed(),
  }
}

const variable = (name: string, selector: string) => ({
  name,
  label: name,
  type: 'query',
  datasource,
  query: { query: `label_values(minimart_build_info${selector}, ${name})`, refId: name },
  definition: `label_values(minimart_build_info${selector}, ${name})`,
  refresh: 2,
  sort: 1,
  multi: true,
  includeAll: true,
  allValue: '.+',
  current: { selected: true, text: ['All'], value: ['$__all'] },
})

/** Row by row from the top, the panels of a row side by side and as wide as there is room. */
function placed(): object[] {
  let id = 0
  let y = 0
  return panelRows.flatMap(({ title, panels }) => {
    const heading = {
      id: ++id,
      type: 'row',
      title,
      collapsed: false,
      panels: [],
      gridPos: { x: 0, y: y++, w: columns, h: 1 },
    }
    const perLine =
      panels.length <= 3 || panels[0]?.kind === 'stat' ? panels.length : Math.ceil(panels.length / 2)
    const w = Math.floor(columns / perLine)
    const h = heights[panels[0]?.kind ?? 'timeseries']
    const members = panels.map((panel, index) => ({
      ...panelOf(panel, ++id),
      gridPos: { x: (index % perLine) * w, y: y + Math.floor(index / perLine) * h, w, h },
    }))
    y += Math.ceil(panels.length / perLine) * h
    return [heading, ...members]
  })
}

function panelOf(
  { title, description, kind = 'timeseries', unit = 'short', max, bad, queries }: Panel,
  id: number,
): object {
  const steps = [
    { color: bad === undefined || bad.above ? 'green' : 'red', value: null },
    ...(bad === undefined ? [] : [{ color: bad.above ? 'red' : 'green', value: bad.value }]),
  ]
  return {
    id,
    type: kind,
    title,
    ...(description === undefined ? {} : { description }),
    datasource,
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        ...(max === undefined ? {} : { max }),
        ...(kind === 'stat' ? { thresholds: { mode: 'absolute', steps } } : {}),
        ...(kind === 'timeseries' ? { custom: { fillOpacity: 8, lineWidth: 1, showPoints: 'never' } } : {}),
      },
      overrides: [],
    },
    options:
      kind === 'stat'
        ? { reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false }, colorMode: 'value' }
        : { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: queries.map(([expr, legendFormat], index) => ({
      refId: String.fromCharCode(65 + index),
      datasource,
      expr,
      legendFormat,
    })),
  }
}
