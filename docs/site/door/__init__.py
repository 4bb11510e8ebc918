"""The site's front door: what `make site` adds to the documents and solved labs.

engine     the engine of the page Ask, fetched as npm packages with a pinned version and integrity
models     the bundled models in the form that this engine reads, and what their cards say
course     the front page: labs, what needs what, routes, and a picture from each lab's stored outputs
languages  which page is which page in another language, and the site's sentences in it
search     an index for each language
questions  the cells of the solved labs whose question can be asked again in the browser
publish    what every page gets at the end: a Content-Security-Policy, and the service worker with its version
"""
