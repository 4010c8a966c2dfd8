// #/help and #/help/verify?language=go: the help, a topic at a time.

import '../help_topic.js';
import { topics, topicTitle } from '../help_topic.js';
import { Screen } from '../screen.js';
import { html, ifDefined, pageHeader, t } from '../ui.js';

export default class HelpScreen extends Screen {
  get topic() {
    const { topic = 'start' } = this.params;
    return topics.includes(topic) ? topic : null;
  }

  get pageTitle() {
    return this.topic ? topicTitle(this.topic) : t('help.title');
  }

  render() {
    const { topic } = this;
    return html`<div class="help-page"><nav class="help-topics" aria-label=${t('help.topics')}><ul>${topics.map((name) => html`<li><a href=${this.app.href(name === 'start' ? '/help' : `/help/${name}`)} aria-current=${ifDefined(name === topic ? 'page' : undefined)}>${topicTitle(name)}</a></li>`)}</ul></nav>
      <article>${pageHeader({ title: topic ? topicTitle(topic) : t('help.not_found') })}<webhook-help-topic .app=${this.app} .topic=${topic ?? 'start'} .language=${this.query.language ?? null} .onLanguage=${(language) => this.app.setQuery({ language }, { replace: true })}></webhook-help-topic></article></div>`;
  }
}
