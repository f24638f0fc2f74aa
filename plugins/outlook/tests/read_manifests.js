// Read manifests with Microsoft's parser; write one JSON document: for each what it read, or why it did not.
"use strict";

const net = require("node:net");
// Reading asks nobody; were that to change in a later version, the tests would say so.
net.Socket.prototype.connect = () => { throw new Error("the parser tried to reach the network"); };

const { OfficeAddinManifest } = require("office-addin-manifest");

const read = (path) =>
  OfficeAddinManifest.readManifestFile(path).catch((error) => ({ refused: error.message }));

Promise.all(process.argv.slice(2).map(read)).then((all) => console.log(JSON.stringify(all)));
