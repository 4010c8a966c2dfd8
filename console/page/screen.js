// What a screen is. screens/NAME.js exports as default a class that extends Screen; router.js says which NAME an address
// has. The shell (webhook-settings.js) makes one element per path, keeps it while only the query changes, and sets:
//
//   app      the shell: what a screen may ask of it is listed below
//   params   of the path, {id: '5'}
//   query    of the address, {status: 'failed'}: filters live here, so that they are kept
//
// A screen gives:
//   render()            the whole page below the navigation, beginning with ui.js's pageHeader (the one h1)
//   routed()            called once when it is shown and again when `query` has changed: load here
//   hasUnsavedChanges   true while leaving would lose something: the shell asks before
//   pageTitle           for the window's title; ''  until it is known
//
// What `app` offers:
//   app.call(name, args, {signal, once})   the function's result, or a thrown RpcError (rpc.js). Operators' chosen
//                                          organization is app.organization: pass it where a function takes one
//   app.write(name, args)                  like call, for what changes something: a double click is one call
//   app.session, app.can                   session() of docs/api.md; can.write, can.see_data, can.choose_organization
//   app.organization                       text, or null for all
//   app.href(path, query), app.go(path, query, {replace}), app.setQuery(query)   addresses
//   app.now()                              the server's time in ms
//   app.toast(text)                        a passing message, read out
//   app.fail(error)                        an error of an action that has no better place: a dialog with its words
//   app.confirm({title, body, confirm, isDanger, sql: [name, args]})  a promise of true or false
//   app.reloadSession()                    after pause and resume

import { Part } from './ui.js';

export class Screen extends Part {
  static properties = { app: { attribute: false }, params: { attribute: false }, query: { attribute: false } };

  constructor() {
    super();
    this.params = {};
    this.query = {};
  }

  get hasUnsavedChanges() {
    return false;
  }

  get pageTitle() {
    return '';
  }

  routed() {}
}
