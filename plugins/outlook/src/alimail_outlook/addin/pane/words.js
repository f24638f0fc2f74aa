// What the pane says, in the languages that it has. `{0}` and `{1}` are filled in.

export const WORDS = {
  en: {
    title: "Address book",
    loginHelp: "Log in with your mail address and the password that your mail program uses.",
    address: "Mail address",
    password: "Password",
    logIn: "Log in",
    logOut: "Log out",
    loggingIn: "Logging in …",
    who: "Logged in as {0}.",
    search: "Name, address, department or title",
    keys: "The arrow keys go through what was found; Escape leads back.",
    searching: "Searching …",
    nobody: "Nobody was found.",
    found: "Found: {0}",
    more: "The first {0} are shown. Write more of the name to see others.",
    to: "To",
    cc: "Cc",
    bcc: "Bcc",
    write: "Write a message",
    addTo: "Add {0} to {1}",
    writeTo: "Write a message to {0}",
    added: "{0} was added to {1}.",
    notAdded: "Outlook did not add {0}: {1}",
    outside: "Outside of Outlook you can search, but not add anybody.",
    refused: "Address or password are not right.",
    often: "Too many attempts. Wait some minutes.",
    again: "Please log in again.",
    away: "The address book cannot be reached. Try again, or tell your administrators.",
  },
  zh: {
    title: "企业通讯录",
    loginHelp: "请使用邮箱地址和邮件客户端的密码登录。",
    address: "邮箱地址",
    password: "密码",
    logIn: "登录",
    logOut: "退出登录",
    loggingIn: "正在登录……",
    who: "当前登录：{0}。",
    search: "姓名、邮箱、部门或职务",
    keys: "用方向键浏览结果，按 Esc 返回搜索框。",
    searching: "正在搜索……",
    nobody: "没有找到。",
    found: "找到 {0} 人",
    more: "只显示前 {0} 人，请输入更完整的姓名。",
    to: "收件人",
    cc: "抄送",
    bcc: "密送",
    write: "写邮件",
    addTo: "将 {0} 添加到{1}",
    writeTo: "给 {0} 写邮件",
    added: "已将 {0} 添加到{1}。",
    notAdded: "Outlook 未能添加 {0}：{1}",
    outside: "不在 Outlook 中打开时，只能搜索，不能添加收件人。",
    refused: "邮箱地址或密码不正确。",
    often: "尝试次数过多，请过几分钟再试。",
    again: "请重新登录。",
    away: "无法连接通讯录。请重试，或联系管理员。",
  },
};

/**
 * Return the function that says things in a language, English where we have no other.
 * @param {string} language such as `zh-CN`
 * @returns {(word: string, ...values: string[]) => string}
 */
export function speaker(language) {
  const words = WORDS[language.toLowerCase().startsWith("zh") ? "zh" : "en"];
  return (word, ...values) => words[word].replace(/\{(\d)\}/g, (_, place) => values[Number(place)]);
}
