// <webhook-help-panel .app .screenName>: the help beside a screen: a button, and a panel with the topic that helps there.

import { button, html, icon, Part, selectInput, t, uniqueId } from './ui.js';

let topicModule = null;

class HelpPanel extends Part {
  static properties = { app: { attribute: false }, screenName: { attribute: false }, topic: { state: true }, isOpen: { state: true } };

  id_ = uniqueId('help-panel');

  // The topics are loaded when somebody asks.
  async open() {
    topicModule ??= await import('./help_topic.js');
    this.topic = topicModule.topicOfScreen(this.screenName);
    this.isOpen = true;
    await this.updateComplete;
    this.querySelector('dialog').showModal();
  }

  close() {
    this.querySelector('dialog')?.close();
  }

  closed() {
    this.isOpen = false;
    this.querySelector('button').focus();
  }

  // Outside of the panel, or on a link in it.
  clicked(event) {
    const isBackdrop = event.target === event.currentTarget;
    if (isBackdrop || event.target.closest('a')) this.close();
  }

  render() {
    return html`<button type="button" class="button quiet small" aria-haspopup="dialog" aria-expanded=${this.isOpen ? 'true' : 'false'} @click=${() => this.open()}>${icon('help')}${t('help.panel.open')}</button>
      ${this.isOpen ? this.renderPanel() : ''}`;
  }

  renderPanel() {
    const { topics, topicTitle } = topicModule;
    return html`<dialog class="help-panel" aria-labelledby=${this.id_} @click=${this.clicked} @close=${this.closed}><div class="help-panel-inner">
      <div class="panel-title"><h2 id=${this.id_} tabindex="-1" autofocus>${topicTitle(this.topic)}</h2>${button({ label: t('action.close'), iconName: 'cross', iconOnly: true, kind: 'quiet', onClick: () => this.close() })}</div>
      <div class="row">${selectInput({ value: this.topic, isAuto: true, options: topics.map((value) => ({ value, label: topicTitle(value) })), onChange: (topic) => { this.topic = topic; } })({ label: t('help.topics') })}
        <a href=${this.app.href(`/help/${this.topic}`)}>${t('help.panel.whole')}</a></div>
      <webhook-help-topic .app=${this.app} .topic=${this.topic}></webhook-help-topic></div></dialog>`;
  }
}
customElements.define('webhook-help-panel', HelpPanel);
