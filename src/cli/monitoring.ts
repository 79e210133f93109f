import alertRules from '../operations/alerts.yml' with { type: 'text' }
import grafanaDashboard from '../operations/dashboard.json' with { type: 'json' }
import type { Command } from './command.ts'
import { print } from './print.ts'

const metricsDetails =
  'It queries the metrics at /metrics; see METRICS_TOKEN and METRICS_PORT for who can scrape them, and where.'

export const dashboard: Command = {
  summary: 'print a Grafana dashboard for its metrics',
  details: [
    'Needs no settings and no database: minimart dashboard > minimart-dashboard.json',
    'Then in Grafana: Dashboards, New, Import; it asks which Prometheus to use.',
    metricsDetails,
  ].join('\n'),
  async run() {
    await print(JSON.stringify(grafanaDashboard, null, 2))
    return 0
  },
}

export const alerts: Command = {
  summary: 'print example alert rules for Prometheus',
  details: [
    'Needs no settings and no database: minimart alerts > minimart-alerts.yml',
    "Then name the file under rule_files in Prometheus' configuration.",
    metricsDetails,
  ].join('\n'),
  async run() {
    await print(alertRules.trimEnd())
    return 0
  },
}
